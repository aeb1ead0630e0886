"""Takes model.py's place in one container: predictions that take their time, and all of Python's.

A row's first value says for how many seconds. The loop is pure Python: it wants the interpreter all the time.
"""

import time
from typing import Any

import real_model

# Everything that is in model.py, by its name: a saved model may refer to it.
globals().update({name: value for name, value in vars(real_model).items() if not name.startswith("__")})


def predict(model: Any, inputs: Any) -> Any:
    """Keep the CPU busy, and then predict."""
    seconds = float(inputs[0][0])
    print(f"a prediction takes {seconds:g} s", flush=True)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return real_model.predict(model, inputs)
