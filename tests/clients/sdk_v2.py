"""What a user of SDK v2 does with an image: in local mode, and on an account."""

from __future__ import annotations

from typing import Any

import boto3
from program import BUCKET, Given, main
from sagemaker.deserializers import BytesDeserializer
from sagemaker.estimator import Estimator
from sagemaker.local import LocalSession
from sagemaker.model import Model
from sagemaker.predictor import Predictor
from sagemaker.serializers import CSVSerializer
from sagemaker.session import Session

CHANNELS = ("train", "validation", "test")


def local_session(given: Given) -> LocalSession:
    session = LocalSession()
    session.config = {
        "local": {"local_code": True, "serving_port": given.port, "container_root": str(given.folder)}
    }
    return session


def estimator(given: Given, name: str, **more: Any) -> Estimator:
    (given.folder / name).mkdir()
    settings = {"hyperparameters": {"epochs": 4, "first_c": 0.5}, "instance_count": 1, **more}
    return Estimator(
        given.image,
        given.role,
        instance_type="local",
        output_path=f"file://{given.folder / name}",
        sagemaker_session=local_session(given),
        **settings,
    )


def files(given: Given) -> dict[str, str]:
    return {name: f"file://{given.data / name}" for name in CHANNELS}


def fit(given: Given, _: Any) -> str:
    """One host, with data from S3."""
    one, data = estimator(given, "fit"), given.uploaded()
    one.fit({name: f"{data}/{name}" for name in CHANNELS})
    return str(one.model_data)


def fit_on_two_hosts(given: Given, _: Any) -> None:
    estimator(given, "two", instance_count=2).fit(files(given))


def fit_again(given: Given, _: Any) -> str:
    """Incremental training: the first job's artifact is a channel of the second one."""
    again = estimator(given, "again", model_uri=f"file://{given.folder / 'fit'}", model_channel_name="model")
    again.fit(files(given))
    return str(again.model_data)


def fit_a_script(given: Given, _: Any) -> str:
    source = given.folder / "source"
    source.mkdir()
    (source / "mine.py").write_text(SCRIPT)
    one = estimator(given, "script", entry_point="mine.py", source_dir=str(source))
    one.fit(files(given))
    return str(one.model_data)


SCRIPT = """
import argparse, os, pathlib
parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int)
parser.add_argument("--first_c", type=float)
arguments = parser.parse_args()
rows = sum(1 for _ in open(os.environ["SM_CHANNEL_TRAIN"] + "/penguins.csv"))
words = f"{arguments.epochs} {arguments.first_c} {rows}"
pathlib.Path(os.environ["SM_MODEL_DIR"], "mine.txt").write_text(words)
"""


def predictor(name: str, session: Session) -> Predictor:
    return Predictor(name, session, serializer=CSVSerializer(), deserializer=BytesDeserializer())


def deploy(given: Given, returned: dict[str, Any]) -> str:
    session = local_session(given)
    model = Model(given.image, returned["fit"], given.role, name="fitted", sagemaker_session=session)
    model.deploy(1, "local", endpoint_name="fitted")
    try:
        endpoint = predictor("fitted", session)
        return endpoint.predict(given.records.read_text()).decode()
    finally:
        session.sagemaker_client.delete_endpoint("fitted")


def transform(given: Given, returned: dict[str, Any]) -> str:
    """One request a line of the file, and nothing put between the answers."""
    session, out = local_session(given), given.folder / "transformed"
    model = Model(given.image, returned["fit"], given.role, sagemaker_session=session, name="batch")
    transformer = model.transformer(1, "local", output_path=f"file://{out}", accept="text/csv")
    source = given.folder / "batch"
    source.mkdir()
    (source / "records.csv").write_bytes(given.records.read_bytes())
    transformer.transform(f"file://{source}", content_type="text/csv", split_type="Line", wait=True)
    return (out / "records.csv.out").read_text()


def on_account(given: Given, hosts: int) -> Estimator:
    hyperparameters = {"epochs": 4, "first_c": 0.5}
    one = Estimator(
        given.image,
        given.role,
        hosts,
        "ml.m5.large",
        hyperparameters=hyperparameters,
        sagemaker_session=Session(default_bucket=BUCKET),
    )
    data = given.uploaded()
    one.fit({name: f"{data}/{name}" for name in CHANNELS}, logs=False)
    return one


def account(given: Given, _: Any) -> str:
    one = on_account(given, 1)
    one.deploy(1, "ml.m5.large", endpoint_name="on-account", wait=False)  # its own wait asks every 30 s
    boto3.client("sagemaker").get_waiter("endpoint_in_service").wait(
        EndpointName="on-account", WaiterConfig={"Delay": 1, "MaxAttempts": 60}
    )
    endpoint = predictor("on-account", one.sagemaker_session)
    return endpoint.predict(given.records.read_text()).decode()


def account_on_two_hosts(given: Given, _: Any) -> None:
    on_account(given, 2)


if __name__ == "__main__":
    main(fit, fit_on_two_hosts, fit_again, fit_a_script, deploy, transform, account, account_on_two_hosts)
