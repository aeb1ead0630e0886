class EndOfEpoch(keras.callbacks.Callback):
    """Prints the metrics, saves a checkpoint, and ends training where SageMaker wants it to stop."""

    def __init__(self, job: Job[Hyperparameters], checkpoints: Checkpoints) -> None:
        super().__init__()
        self.job = job
        self.checkpoints = checkpoints

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float]) -> None:
        """Keras counts epochs from 0 and calls this after each."""
        self.job.log_metrics(
            epoch=epoch + 1,
            train_loss=distributed.mean(logs["loss"]),
            validation_loss=logs["val_loss"],
            validation_accuracy=logs["val_accuracy"],
        )
        if self.job.is_leader:
            with self.checkpoints.saving(epoch + 1) as path:
                self.model.save(path)
        self.model.stop_training = self.job.should_stop()


def train(job: Job[Hyperparameters]) -> None:
    """Fit for some epochs, with a checkpoint after each, and save the model with a report."""
    hp = job.hyperparameters
    x, y = read(job.channel("train"))
    # A part of the rows is no measure: a sharded channel needs another one for validation.
    has_validation = job.has_channel("validation") or job.is_sharded("train")
    validation = read(job.channel("validation")) if has_validation else (x, y)
    checkpoints = job.checkpoints(".keras")
    epoch = 0
    keras.utils.set_random_seed(hp.seed)
    if found := checkpoints.resume(keras.saving.load_model):
        epoch, model = found
        print(f"resumed after epoch {epoch}", flush=True)
    else:
        previous = job.previous_model()
        model = load(previous) if previous else build(x, hp)
        model.compile(
            optimizer=keras.optimizers.Adam(hp.learning_rate),
            loss="sparse_categorical_crossentropy",
            metrics=["accuracy"],
        )

    batches = distributed.Batches(len(y), hp.batch_size, job.is_sharded("train"))
    if not job.should_stop():
        history = model.fit(
            examples(x, y, batches, hp.seed, epoch),
            steps_per_epoch=len(batches.sizes),
            validation_data=validation,
            initial_epoch=epoch,
            epochs=hp.epochs,
            shuffle=False,  # the generator did it
            callbacks=[EndOfEpoch(job, checkpoints)],
            verbose=0,
        )
        epoch += len(history.epoch)

    if job.is_leader and epoch > 0:
        with distributed.alone():
            with atomic(job.model_dir / MODEL_FILE) as path:
                model.save(path, include_optimizer=False)
            if job.has_channel("test"):
                x_test, y_test = read(job.channel("test"))
                evaluate(job, y_test, classify(load(job.model_dir), x_test), epoch)


def examples(
    x: np.ndarray, y: np.ndarray, batches: distributed.Batches, seed: int, epoch: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Rows and their weights, in a new order for each epoch; it is the same when a job resumes there."""
    for current in count(epoch):
        for rows, weights in batches(np.random.default_rng((seed, current)).permutation(len(y))):
            yield x[rows], y[rows], weights


def load(model_dir: Path) -> keras.Model:
    """Load what `train` saved. The folder is read-only on an endpoint."""
    return keras.saving.load_model(model_dir / MODEL_FILE, compile=False)


def classify(model: keras.Model, x: np.ndarray) -> np.ndarray:
    """The label of each row of features."""
    # Filled up to a power of two rows: a backend may compile anew for every number of rows that it meets.
    batch = np.zeros((1 << (len(x) - 1).bit_length(), *x.shape[1:]), dtype=x.dtype)
    batch[: len(x)] = x
    with PREDICTING:
        probabilities = model.predict_on_batch(batch)
    return np.take(LABELS, probabilities[: len(x)].argmax(axis=1))
