HEADER = "species,bill_length_mm,bill_depth_mm,flipper_length_mm,body_mass_g,sex\n"
ROW = "Adelie,39.1,18.7,181,3750,male\n"


@of_the_sample
def test_a_training_file_may_lack_optional_columns_and_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"\ufeff{HEADER}{ROW}Gentoo,46.1,13.2,211,4500,\n", encoding="utf-8")
    x, y = model.read(tmp_path)
    assert len(x) == 2
    assert [model.LABELS[label] for label in y] == ["Adelie", "Gentoo"]


@of_the_sample
@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("Adelie,,18.7,181,3750,male", "a.csv, line 3: bill_length_mm is ''"),
        ("Adelie,39.1,18.7,181,heavy,male", "a.csv, line 3: body_mass_g is 'heavy'"),
        ("adelie,39.1,18.7,181,3750,male", "a.csv, line 3: species is 'adelie'"),
        ("Adelie,39.1,18.7,181,3750,unknown", "a.csv, line 3: sex is 'unknown'"),
    ],
)
def test_a_wrong_row_ends_the_job_with_its_place(tmp_path: Path, row: str, reason: str) -> None:
    (tmp_path / "a.csv").write_text(f"{HEADER}{ROW}{row}\n", encoding="utf-8")
    with pytest.raises(JobError, match=re.escape(reason)):
        model.read(tmp_path)
