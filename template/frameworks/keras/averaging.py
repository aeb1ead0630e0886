_apply = keras.optimizers.Optimizer.apply


def _averaged(optimizer: Any, grads: Sequence[Any], trainable_variables: Any = None) -> Any:
    return _apply(optimizer, average(grads), trainable_variables)


if PROCESSES > 1:
    # fit() needs no change for it, nor does a model that was loaded.
    keras.optimizers.Optimizer.apply = _averaged
