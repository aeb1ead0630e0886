"""Whether a customer will leave: gradient boosting on numbers and categories, where values may be missing."""

import lightgbm
import pandas as pd
from pydantic import BaseModel, Field

from byoc.inputs import Table, boolean, category, number, whole_number

PLANS = ("basic", "plus", "business")
INPUTS = Table(
    plan=category(*PLANS),
    region=category("north", "south", "east", "west", optional=True),
    months=whole_number(),
    monthly_charge=number(optional=True),
    support_calls=whole_number(optional=True),
    autopay=boolean(optional=True),
    dataframe=True,
)


class Hyperparameters(BaseModel):
    num_boost_round: int = Field(60, ge=1)
    learning_rate: float = Field(0.1, gt=0)
    lambda_l2: float = Field(1.0, ge=0, alias="lambda")


def train(job):
    hp = job.hyperparameters
    table = pd.read_csv(job.channel("train") / "customers.csv")
    parameters = {
        "objective": "binary",
        "learning_rate": hp.learning_rate,
        "lambda_l2": hp.lambda_l2,
        "min_data_in_leaf": 5,
        "deterministic": True,
        "num_threads": 1,
        "verbose": -1,
    }
    data = lightgbm.Dataset(columns(table), label=table["left"])
    booster = lightgbm.train(parameters, data, hp.num_boost_round)
    booster.save_model(job.model_dir / "churn.txt")


def load(model_dir):
    return lightgbm.Booster(model_file=model_dir / "churn.txt")


def predict(model, inputs):
    leaves = model.predict(columns(inputs), num_threads=1)
    return pd.DataFrame(
        {
            "class": ["leaves" if p >= 0.5 else "stays" for p in leaves],
            "probability": [round(float(max(p, 1 - p)), 3) for p in leaves],
        }
    )


def columns(table):
    """Categories with the values of INPUTS in their order, and everything else as floats with NaN."""
    return pd.DataFrame(
        {
            name: pd.Categorical(table[name], categories=column.values)
            if column.type == "category"
            else table[name].astype("Float64").astype(float)
            for name, column in INPUTS.columns.items()
        }
    )
