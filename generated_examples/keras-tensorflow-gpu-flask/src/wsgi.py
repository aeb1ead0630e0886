"""What gunicorn imports, once or in each worker: loads the model, then offers the application."""

from byoc.serving.loaded_model import LoadedModel
from predictor import Predictor

app = Predictor(LoadedModel())
