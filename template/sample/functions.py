def read(channel: Path) -> tuple[np.ndarray, np.ndarray]:
    """All CSV files of a channel: features of shape [rows, 4] and species as indexes of shape [rows]."""
    rows: list[dict[str, str]] = []
    for file in sorted(channel.rglob("*.csv")):
        with file.open(newline="", encoding="utf-8") as lines:
            rows += csv.DictReader(lines)
    if not rows:
        raise JobError(f"channel {channel.name!r} has no rows in CSV files")
    try:
        features = np.array([[row[name] for name in FEATURES] for row in rows], dtype=np.float32)
        labels = np.array([SPECIES.index(row["species"]) for row in rows])
    except (KeyError, ValueError, TypeError) as error:
        raise JobError(f"channel {channel.name!r} does not hold the expected columns: {error}") from error
    return features, labels


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
