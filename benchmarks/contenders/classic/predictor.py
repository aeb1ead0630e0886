"""The sample's web application: pandas reads the CSV and writes the answer, the model loads when asked."""

import functools
import io

import flask
import joblib
import pandas as pd

app = flask.Flask(__name__)


@functools.cache
def model():
    return joblib.load("/opt/ml/model/model.joblib")


@app.route("/ping", methods=["GET"])
def ping():
    status = 200 if model() is not None else 404
    return flask.Response(response="\n", status=status, mimetype="application/json")


@app.route("/invocations", methods=["POST"])
def invocations():
    if flask.request.content_type != "text/csv":
        return flask.Response(
            response="This predictor only supports CSV data", status=415, mimetype="text/plain"
        )
    data = pd.read_csv(io.StringIO(flask.request.data.decode("utf-8")), header=None)
    print(f"Invoked with {data.shape[0]} records")
    predictions = model().predict(data.to_numpy())
    out = io.StringIO()
    pd.DataFrame({"results": predictions}).to_csv(out, header=False, index=False)
    return flask.Response(response=out.getvalue(), status=200, mimetype="text/csv")
