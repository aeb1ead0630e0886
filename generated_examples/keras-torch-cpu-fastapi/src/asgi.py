"""What gunicorn imports, once or in each worker: loads the model, then offers the application."""

from uvicorn import Config

from byoc.serving import stack
from byoc.serving.loaded_model import LoadedModel
from predictor import Predictor

app = Predictor(LoadedModel())
# Imports what each worker would import for itself. Before the fork, its memory is shared.
_config = Config(app, log_config=None, **stack.UVICORN)
_config.load()
_config.get_loop_factory()
