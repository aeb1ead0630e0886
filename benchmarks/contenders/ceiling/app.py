"""As little as can stand between a socket and a prediction: no framework, no checks, no second thread."""

import io
import json

import joblib
import numpy as np

MODEL = joblib.load("/opt/ml/model/model.joblib")
TYPES = (b"text/csv", b"application/json", b"application/x-npy")


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body = b""
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    answer, media_type = b"", b"text/plain"
    if scope["path"] == "/invocations":
        media_type = next(value for name, value in scope["headers"] if name == b"content-type")
        answer = PREDICT[media_type](body)
    headers = [(b"content-type", media_type), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


def from_csv(body):
    if len(body) > 4096:
        rows = np.loadtxt(io.BytesIO(body), delimiter=",", ndmin=2)
    else:
        rows = np.array([line.split(b",") for line in body.splitlines()], dtype=np.float64)
    return "".join(f"{label}\n" for label in MODEL.predict(rows).tolist()).encode()


def from_json(body):
    rows = np.array(json.loads(body)["instances"], dtype=np.float64)
    return json.dumps({"predictions": MODEL.predict(rows).tolist()}).encode()


def from_npy(body):
    out = io.BytesIO()
    np.save(out, MODEL.predict(np.load(io.BytesIO(body), allow_pickle=False)))
    return out.getvalue()


PREDICT = dict(zip(TYPES, (from_csv, from_json, from_npy), strict=True))
