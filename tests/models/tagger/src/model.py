"""Persons, places and organisations in a sentence: a tag for every token, so answers differ in length."""

import re
from typing import Literal

import joblib
from pydantic import BaseModel
from sklearn.feature_extraction import DictVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from byoc.inputs import Text

INPUTS = Text()


class Hyperparameters(BaseModel):
    c: float = 30.0
    solver: Literal["lbfgs", "newton-cg"] = "lbfgs"


def train(job):
    tokens, tags = [], []
    for sentence in conll((job.channel("train") / "news.conll").read_text(encoding="utf-8")):
        words = [word for word, _ in sentence]
        tokens += [features(words, place) for place in range(len(words))]
        tags += [tag for _, tag in sentence]
    hp = job.hyperparameters
    model = make_pipeline(DictVectorizer(), LogisticRegression(C=hp.c, solver=hp.solver, max_iter=1000))
    model.fit(tokens, tags)
    joblib.dump(model, job.model_dir / "tagger.joblib")


def load(model_dir):
    return joblib.load(model_dir / "tagger.joblib")


def predict(model, inputs):
    return [tag(model, text) for text in inputs]


def tag(model, text):
    """One text: a list of {"token", "start", "tag"}; empty for a text without tokens."""
    found = list(re.finditer(r"\w+|[^\w\s]", text))
    words = [match.group() for match in found]
    if not words:
        return []
    tags = model.predict([features(words, place) for place in range(len(words))])
    return [
        {"token": match.group(), "start": match.start(), "tag": str(label)}
        for match, label in zip(found, tags, strict=True)
    ]


def features(words, place):
    word = words[place]
    before = words[place - 1].lower() if place else "<start>"
    after = words[place + 1].lower() if place + 1 < len(words) else "<end>"
    return {
        "word": word.lower(),
        "suffix": word[-3:].lower(),
        "title": word.istitle(),
        "upper": word.isupper(),
        "first": not place,
        "before": before,
        "after": after,
    }


def conll(text):
    """Sentences of (token, tag); an empty line ends a sentence."""
    for block in text.strip().split("\n\n"):
        yield [tuple(line.split()) for line in block.splitlines()]
