def parallel(model: keras.Model) -> None:
    """Let the model's optimizer apply gradients that are averaged over all processes."""
    if PROCESSES > 1:
        apply = model.optimizer.apply
        model.optimizer.apply = lambda grads, variables=None: apply(average(grads), variables)


def alone(model: keras.Model) -> keras.Model:
    """The model for this process alone, after training."""
    return model
