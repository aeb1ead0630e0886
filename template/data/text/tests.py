@of_the_sample
def test_a_wrong_row_ends_the_job_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("source,text\njargon,A fix.\nDevil,A wall.\n", encoding="utf-8")
    with pytest.raises(JobError, match=re.escape("a.csv, line 3: source is 'Devil'")):
        model.read(tmp_path)
