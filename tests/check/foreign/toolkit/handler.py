"""A model that adds numbers, behind the toolkit's defaults."""

import json
from pathlib import Path

import numpy as np
from sagemaker_inference import decoder, encoder
from sagemaker_inference.default_handler_service import DefaultHandlerService
from sagemaker_inference.default_inference_handler import DefaultInferenceHandler
from sagemaker_inference.transformer import Transformer


class Handler(DefaultInferenceHandler):
    def default_model_fn(self, model_dir, context=None):
        return json.loads(Path(model_dir, "model.json").read_text())

    def default_input_fn(self, input_data, content_type, context=None):
        return np.atleast_2d(decoder.decode(input_data, content_type))

    def default_predict_fn(self, data, model, context=None):
        return data.sum(axis=1) + model["bias"]

    def default_output_fn(self, prediction, accept, context=None):
        return encoder.encode(prediction, accept)


class Service(DefaultHandlerService):
    def __init__(self):
        super().__init__(transformer=Transformer(default_inference_handler=Handler()))


service = Service()


def handle(data, context):
    if not service._initialized if hasattr(service, "_initialized") else True:
        service.initialize(context)
        service._initialized = True
    return service.handle(data, context)
