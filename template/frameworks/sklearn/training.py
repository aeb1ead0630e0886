def train(job: Job[Hyperparameters]) -> None:
    """Fit one model per step, keep the one with the lowest validation loss, and save it with a report.

    A previous model takes part: it stays if no new one is better.
    """
    hp = job.hyperparameters
    x, y = read(job.channel("train"))
    x_validation, y_validation = read(job.channel("validation")) if job.has_channel("validation") else (x, y)
    checkpoints = job.checkpoints(".joblib")
    epoch, best, best_loss = 0, None, np.inf
    if found := checkpoints.resume(joblib.load):
        epoch, (best, best_loss) = found
        print(f"resumed after epoch {epoch}", flush=True)
    elif previous := job.previous_model():
        best = load(previous)
        best_loss = log_loss(y_validation, best.predict_proba(x_validation), labels=range(len(LABELS)))
        print(f"the previous model has a validation loss of {best_loss:.6g}", flush=True)

    while epoch < hp.epochs and not job.should_stop():
        epoch += 1
        candidate = pipeline(min(hp.first_c * hp.growth ** min(epoch - 1, 100), 1e6)).fit(x, y)
        loss = log_loss(y_validation, candidate.predict_proba(x_validation), labels=range(len(LABELS)))
        if loss < best_loss:
            best, best_loss = candidate, loss
        job.log_metrics(
            epoch=epoch,
            train_loss=log_loss(y, candidate.predict_proba(x), labels=range(len(LABELS))),
            validation_loss=loss,
            validation_accuracy=candidate.score(x_validation, y_validation),
        )
        if job.is_leader:
            with checkpoints.saving(epoch) as path:
                joblib.dump((best, best_loss), path)

    if job.is_leader and best is not None:
        with atomic(job.model_dir / MODEL_FILE) as path:
            joblib.dump(best, path)
        if job.has_channel("test"):
            x_test, y_test = read(job.channel("test"))
            evaluate(job, y_test, np.take(LABELS, best.predict(x_test)), epoch)


def load(model_dir: Path) -> Pipeline:
    """Load what `train` saved. The folder is read-only on an endpoint."""
    return joblib.load(model_dir / MODEL_FILE)
