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
    found = [list(re.finditer(r"\w+|[^\w\s]", text)) for text in inputs]
    tokens = []
    for matches in found:
        words = [match.group() for match in matches]
        tokens += [features(words, place) for place in range(len(words))]
    tags = iter(model.predict(tokens) if tokens else [])
    return [
        [{"token": match.group(), "start": match.start(), "tag": str(next(tags))} for match in matches]
        for matches in found
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
