@of_the_sample
@pytest.mark.parametrize(
    ("name", "reason"),
    [("3/a.png", "3/a.png is not an image"), ("three/a.png", "three/a.png must lie in a folder")],
)
def test_a_wrong_file_ends_the_job_with_its_name(tmp_path: Path, name: str, reason: str) -> None:
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_bytes(b"no image")
    with pytest.raises(JobError, match=re.escape(reason)):
        model.read(tmp_path)


@of_the_sample
def test_an_image_may_have_any_size_and_mode() -> None:
    modes, sizes = ("1", "L", "P", "RGB", "RGBA", "CMYK", "I;16"), ((8, 8), (31, 1))
    images = [model.Image.new(mode, size) for mode in modes for size in sizes]
    assert model.features(images).shape == (len(images), model.SIDE**2)
    assert model.features([model.Image.new("I;16", (8, 8), 32768)]) == pytest.approx(128 / 255)
