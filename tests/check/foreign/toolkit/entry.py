"""Start the model server, or whatever else was asked for."""

import subprocess
import sys

from sagemaker_inference import model_server

if sys.argv[1] == "serve":
    model_server.start_model_server(handler_service="/home/model-server/handler.py:handle")
else:
    sys.exit(subprocess.call(sys.argv[1:]))
