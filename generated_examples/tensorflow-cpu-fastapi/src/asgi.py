"""What gunicorn imports, once or in each worker: loads the model, then offers the application."""

from predictor import Predictor

from byoc.serving.loaded_model import Service

app = Predictor(Service())
