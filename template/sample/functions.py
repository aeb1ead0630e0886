def read(channel: Path) -> tuple[np.ndarray, np.ndarray]:
    """All CSV files of a channel: features of shape [rows, 4] and species as indexes of shape [rows].

    Hidden files and folders are left out. Raises JobError that names the file, the line and what is in it.
    """
    features: list[list[float]] = []
    labels: list[int] = []
    files = [f.relative_to(channel) for f in sorted(channel.rglob("*")) if f.is_file()]
    for file in files:
        if file.suffix != ".csv" or any(part.startswith(".") for part in file.parts):
            continue
        with (channel / file).open(newline="", encoding="utf-8-sig") as lines:  # some begin with a mark
            table = csv.DictReader(lines)
            if missing := {"species", *FEATURES} - {*(table.fieldnames or ())}:
                raise JobError(f"{file} has the columns {table.fieldnames}, but not {sorted(missing)}")
            for row in table:
                try:
                    features.append([float(row[name]) for name in FEATURES])
                    labels.append(SPECIES.index(row["species"]))
                except (ValueError, TypeError):
                    raise JobError(
                        f"{file}, line {table.line_num}: needs a species of {SPECIES} and numbers, has {row}"
                    ) from None
    if not labels:
        found = ", ".join(map(str, files[:10])) or "no file"
        raise JobError(f"channel {channel.name!r} has no rows in .csv files; it holds {found}")
    return np.array(features, dtype=np.float32), np.array(labels)


def evaluate(job: Job[Hyperparameters], model: object, epochs: int) -> None:
    """Score the model on data that it has not seen, and save the report with the job's outputs."""
    if not job.has_channel("test"):
        return
    x, y = read(job.channel("test"))
    predicted = predict(model, x)
    accuracy = float(np.mean(predicted == np.array(SPECIES)[y]))
    job.log_metrics(test_accuracy=accuracy)
    confusion = {
        actual: {p: int(np.sum(predicted[y == i] == p)) for p in SPECIES} for i, actual in enumerate(SPECIES)
    }
    report = {"rows": len(y), "epochs": epochs, "accuracy": accuracy, "confusion": confusion}
    job.write_report("evaluation.json", report)
