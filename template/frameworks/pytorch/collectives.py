def join() -> None:
    """Make this process one of the job's. A process that hangs ends the job after the timeout."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        cuda = torch.cuda.is_available()
        if cuda:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        timeout = timedelta(seconds=int(os.environ.get("COLLECTIVE_TIMEOUT_SECONDS", "600")))
        distributed.init_process_group("nccl" if cuda else "gloo", timeout=timeout)


def agree(flag: bool) -> bool:
    """Whether the flag is true in any process. Every process must ask at the same step."""
    return bool(total(torch.tensor(int(flag))))


def total(value: Any) -> torch.Tensor:
    """The sum over all processes of a tensor or array."""
    value = torch.as_tensor(value)
    if not distributed.is_initialized():
        return value
    summed = value.to("cuda") if torch.cuda.is_available() else value.clone()
    distributed.all_reduce(summed)
    return summed.to(value.device)


def from_leader(value: Any) -> Any:
    """What the leader has, in every process: SageMaker may restore a checkpoint on one host alone."""
    values = [value]
    if distributed.is_initialized():
        distributed.broadcast_object_list(values)
    return values[0]


# A process that saves needs no other one.
alone = nullcontext


def is_symptom(error: BaseException) -> bool:
    """Whether an error only says that another process is gone, or hangs."""
    text = str(error)
    names = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "gloo", "NCCL")
    return isinstance(error, RuntimeError) and any(name in text for name in names)
