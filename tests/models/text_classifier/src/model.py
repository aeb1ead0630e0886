"""Which team a support ticket belongs to, and how sure we are."""

import json

import joblib
from pydantic import BaseModel
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from byoc.inputs import Text

INPUTS = Text()


class Hyperparameters(BaseModel):
    c: float = 10.0
    max_ngram: int = 2


def train(job):
    hp = job.hyperparameters
    lines = (job.channel("train") / "tickets.jsonl").read_text(encoding="utf-8").splitlines()
    tickets = [json.loads(line) for line in lines]
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, hp.max_ngram), sublinear_tf=True),
        LogisticRegression(C=hp.c, max_iter=1000),
    )
    model.fit([ticket["text"] for ticket in tickets], [ticket["team"] for ticket in tickets])
    joblib.dump(model, job.model_dir / "tickets.joblib")


def load(model_dir):
    return joblib.load(model_dir / "tickets.joblib")


def predict(model, inputs):
    probabilities = model.predict_proba(inputs)
    best = probabilities.argmax(axis=1)
    return [
        {"team": model.classes_[label], "score": round(float(row[label]), 3)}
        for label, row in zip(best, probabilities, strict=True)
    ]
