def train(job: Job[Hyperparameters]) -> None:
    """Fit for some epochs, with a checkpoint after each, and save the model with a report."""
    hp = job.hyperparameters
    x, y = tensors(job.channel("train"))
    # A part of the rows is no measure: a sharded channel needs another one for validation.
    has_validation = job.has_channel("validation") or job.is_sharded("train")
    x_validation, y_validation = tensors(job.channel("validation")) if has_validation else (x, y)
    model = build(x, hp)
    loss_of = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=hp.learning_rate)
    checkpoints = job.checkpoints(".pt")
    epoch = 0
    if found := checkpoints.resume(lambda file: torch.load(file, map_location="cpu", weights_only=True)):
        epoch, state = found
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        print(f"resumed after epoch {epoch}", flush=True)
    elif previous := job.previous_model():
        model.load_state_dict(load(previous).state_dict())

    parallel = distributed.parallel(model)
    row_count = distributed.total(torch.tensor(len(y))) if job.is_sharded("train") else len(y)
    while epoch < hp.epochs and not job.should_stop():
        epoch += 1
        train_loss = torch.zeros((), device=DEVICE)
        order = torch.randperm(len(y))
        for rows in distributed.batches(parallel, order, hp.batch_size, job.is_sharded("train")):
            loss = loss_of(parallel(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            train_loss += loss.detach() * len(rows)
        with torch.inference_mode():
            scores = model(x_validation)
        job.log_metrics(
            epoch=epoch,
            train_loss=(distributed.total(train_loss) / row_count).item(),
            validation_loss=loss_of(scores, y_validation).item(),
            validation_accuracy=(scores.argmax(dim=1) == y_validation).float().mean().item(),
        )
        if job.is_leader:
            state = {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "rng": torch.get_rng_state(),
            }
            with checkpoints.saving(epoch) as path:
                torch.save(state, path)

    if job.is_leader and epoch > 0:
        with atomic(job.model_dir / MODEL_FILE) as path:
            torch.save({"hidden_units": hp.hidden_units, "weights": model.state_dict()}, path)
        if job.has_channel("test"):
            x_test, y_test = read(job.channel("test"))
            evaluate(job, y_test, classify(model, x_test), epoch)


def tensors(channel: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """A channel's features and labels, where the model is."""
    x, y = read(channel)
    return torch.from_numpy(x).to(DEVICE), torch.from_numpy(y).to(DEVICE)


def load(model_dir: Path) -> nn.Sequential:
    """Load what `train` saved. The folder is read-only on an endpoint."""
    saved = torch.load(model_dir / MODEL_FILE, map_location=DEVICE, weights_only=True)
    model = network(saved["hidden_units"]).to(DEVICE)
    model.load_state_dict(saved["weights"])
    return model.eval()


@torch.inference_mode()
def classify(model: nn.Sequential, x: np.ndarray) -> np.ndarray:
    """The label of each row of features."""
    scores = model(torch.from_numpy(x).to(DEVICE))
    return np.take(LABELS, scores.argmax(dim=1).cpu().numpy())
