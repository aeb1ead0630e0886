class Trainer(tf.Module):
    """Gradient descent with momentum. Its variables are all that a checkpoint has to hold."""

    def __init__(self, model: Classifier, hp: Hyperparameters) -> None:
        super().__init__()
        self.model = model
        self.velocities = [tf.Variable(tf.zeros_like(v), trainable=False) for v in model.trainable_variables]
        self.learning_rate, self.momentum = hp.learning_rate, hp.momentum

    @tf.function(reduce_retracing=True)
    def step(self, x: tf.Tensor, y: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """Take one step down the slope of a batch's mean loss, and return that loss."""
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            loss = mean_loss(self.model(x), y, weights)
        gradients = distributed.average(tape.gradient(loss, variables))
        for variable, velocity, gradient in zip(variables, self.velocities, gradients, strict=True):
            velocity.assign(self.momentum * velocity - self.learning_rate * tf.convert_to_tensor(gradient))
            variable.assign_add(velocity)
        return loss


def train(job: Job[Hyperparameters]) -> None:
    """Fit for some epochs, with a checkpoint after each, and save the model with a report."""
    hp = job.hyperparameters
    x, y = read(job.channel("train"))
    # A part of the rows is no measure: a sharded channel needs another one for validation.
    has_validation = job.has_channel("validation") or job.is_sharded("train")
    x_validation, y_validation = read(job.channel("validation")) if has_validation else (x, y)
    model = Classifier(x, hp)
    trainer = Trainer(model, hp)
    checkpoints = job.checkpoints(".npz")
    epoch = 0
    if found := checkpoints.resume(lambda file: list(np.load(file).values())):
        epoch, values = found
        for variable, value in zip(trainer.variables, values, strict=True):
            variable.assign(value)
        print(f"resumed after epoch {epoch}", flush=True)
    elif previous := job.previous_model():
        variables = previous / MODEL_VERSION / "variables/variables"
        tf.train.Checkpoint(model).read(str(variables)).assert_existing_objects_matched()

    batches = distributed.Batches(len(y), hp.batch_size, job.is_sharded("train"))
    while epoch < hp.epochs and not job.should_stop():
        epoch += 1
        # Each epoch has its own order of rows, the same when a job resumes there.
        order = np.random.default_rng((hp.seed, epoch)).permutation(len(y))
        losses = [
            trainer.step(tf.constant(x[rows]), tf.constant(y[rows]), tf.constant(weights))
            for rows, weights in batches(order)
        ]
        scores = model(x_validation)
        job.log_metrics(
            epoch=epoch,
            train_loss=distributed.mean(np.average(losses, weights=batches.sizes)),
            validation_loss=float(mean_loss(scores, y_validation)),
            validation_accuracy=float(np.mean(np.argmax(scores, axis=1) == y_validation)),
        )
        if job.is_leader:
            with checkpoints.saving(epoch) as path:
                np.savez(path, *(variable.numpy() for variable in trainer.variables))

    if job.is_leader and epoch > 0:
        save(model, job.model_dir / MODEL_VERSION)
        if job.has_channel("test"):
            x_test, y_test = read(job.channel("test"))
            evaluate(job, y_test, classify(load(job.model_dir), x_test), epoch)


def mean_loss(scores: tf.Tensor, y: tf.Tensor, weights: tf.Tensor | float = 1.0) -> tf.Tensor:
    """Cross entropy of the scores, averaged over the rows."""
    return tf.reduce_mean(weights * tf.nn.sparse_softmax_cross_entropy_with_logits(y, scores))


def save(model: Classifier, folder: Path) -> None:
    """Export a SavedModel; the folder appears when it is complete."""
    with TemporaryDirectory(prefix=".tmp-", dir=folder.parent) as parent:
        complete = Path(parent, folder.name)
        tf.saved_model.save(model, complete, signatures={"serving_default": model.serve})
        shutil.rmtree(folder, ignore_errors=True)
        complete.replace(folder)


def load(model_dir: Path) -> Any:
    """Load what `train` saved. The folder is read-only on an endpoint."""
    return tf.saved_model.load(model_dir / MODEL_VERSION)


def classify(model: Any, x: np.ndarray) -> np.ndarray:
    """The label of each row of features."""
    outputs = model.signatures["serving_default"](inputs=tf.constant(x))
    return np.take(LABELS, np.argmax(outputs["probabilities"], axis=1))
