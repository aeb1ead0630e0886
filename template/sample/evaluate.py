def evaluate(job: Job[Hyperparameters], y: np.ndarray, predicted: np.ndarray, epochs: int) -> None:
    """Log the accuracy on data that the model has not seen, and save a report with the job's outputs."""
    accuracy = float(np.mean(predicted == np.take(LABELS, y)))
    job.log_metrics(test_accuracy=accuracy)
    confusion = {
        actual: {p: int(np.sum(predicted[y == i] == p)) for p in LABELS} for i, actual in enumerate(LABELS)
    }
    report = {"rows": len(y), "epochs": epochs, "accuracy": accuracy, "confusion": confusion}
    job.write_report("evaluation.json", report)
