"""Save a model as MLflow does, in /opt/ml/model."""

import mlflow.sklearn
import numpy as np
from sklearn.linear_model import LinearRegression

inputs = np.arange(80.0).reshape(10, 8)
mlflow.sklearn.save_model(LinearRegression().fit(inputs, inputs.sum(axis=1)), "/opt/ml/model")
