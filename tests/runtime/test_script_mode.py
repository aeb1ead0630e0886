"""A training script that the job brings, as SDK v2 sends it, and a container without a command."""

from __future__ import annotations

import io
import json
import signal
import tarfile
import time
from pathlib import Path

import pytest
from processes import Job, program, training

SCRIPT = """
import argparse, json, os, sys
import helper
parser = argparse.ArgumentParser()
parser.add_argument("--learning-rate", type=float)
parser.add_argument("--layers", type=json.loads)
parser.add_argument("--optimizer")
parser.add_argument("-n", type=int)
given = vars(parser.parse_args())
seen = {name: value for name, value in os.environ.items() if name.startswith("SM_")}
with open(os.path.join(os.environ["SM_MODEL_DIR"], "seen.json"), "w") as file:
    json.dump({"arguments": given, "variables": seen, "name": __name__, "folder": os.getcwd()}, file)
"""
BOTO3 = """
import os, shutil
class client:
    def __init__(self, service): pass
    def download_file(self, bucket, key, target):
        shutil.copy(os.path.join(os.environ["S3"], bucket, key), target)
"""
# As SDK v2's Estimator sends them: each value is JSON.
VALUES = {"learning-rate": "0.1", "layers": "[8, 4]", "optimizer": '"adam"', "n": "3"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return program(tmp_path_factory.mktemp("program"))


@pytest.fixture
def job(source: Path, tmp_path: Path) -> Job:
    return Job(source, tmp_path, training("raise ValueError('the image has its own model.py')"))


def bring(job: Job, script: str, where: str | None = None) -> None:
    """Put a script beside a module of its own into a folder that the job names, /opt/ml/code as it is."""
    code = job.opt_ml / "code"
    code.mkdir(parents=True)
    (code / "my train.py").write_text(script)
    (code / "helper.py").touch()
    job.configure(
        "hyperparameters",
        {
            **VALUES,
            "sagemaker_program": json.dumps("my train.py"),
            "sagemaker_submit_directory": json.dumps(where or str(code)),
            "sagemaker_region": '"eu-west-1"',
        },
    )


def pack(job: Job, archive: Path) -> str:
    archive.parent.mkdir(parents=True)
    with tarfile.open(archive, "w:gz") as tar:
        for file in (job.opt_ml / "code").iterdir():
            tar.add(file, file.name)
    return str(archive)


def test_a_script_finds_its_arguments_and_the_variables_of_awss_images(job: Job) -> None:
    bring(job, SCRIPT)
    job.configure("inputdataconfig", {"train": {"TrainingInputMode": "File"}})
    job.configure("resourceconfig", {"current_host": "algo-2", "hosts": ["algo-2"]})
    code, log = job.run()
    assert code == 0, log
    seen = json.loads((job.opt_ml / "model/seen.json").read_text())
    assert seen["arguments"] == {"learning_rate": 0.1, "layers": [8, 4], "optimizer": "adam", "n": 3}
    assert (seen["name"], seen["folder"]) == ("__main__", str(job.opt_ml / "code"))
    variables = seen["variables"]
    assert variables["SM_CHANNEL_TRAIN"] == str(job.opt_ml / "input/data/train")
    assert variables["SM_OUTPUT_DATA_DIR"] == str(job.opt_ml / "output/data")
    assert variables["SM_HP_LEARNING_RATE"] == "0.1"
    assert variables["SM_HP_OPTIMIZER"] == "adam"
    assert variables["SM_CURRENT_HOST"] == "algo-2"
    assert json.loads(variables["SM_HOSTS"]) == ["algo-2"]
    assert json.loads(variables["SM_CHANNELS"]) == ["train"]
    assert json.loads(variables["SM_HPS"]) == {
        "learning-rate": 0.1,
        "layers": [8, 4],
        "optimizer": "adam",
        "n": 3,
    }


def test_a_script_may_come_as_the_channel_that_network_isolation_brings(job: Job) -> None:
    archive = job.opt_ml / "input/data/code/sourcedir.tar.gz"
    bring(job, SCRIPT, str(archive))
    pack(job, archive)
    assert job.run()[0] == 0
    assert (job.opt_ml / "model/seen.json").exists()


def test_a_script_in_s3_is_downloaded_where_the_image_has_boto3(job: Job) -> None:
    bring(job, SCRIPT, "s3://bucket/job/sourcedir.tar.gz")
    pack(job, job.folder / "s3/bucket/job/sourcedir.tar.gz")
    (job.folder / "boto3.py").write_text("raise ImportError")
    assert job.run()[0] == 1
    assert "add boto3 to requirements.txt" in str(job.failure)
    (job.folder / "boto3.py").write_text(BOTO3)
    assert job.run(S3=str(job.folder / "s3"))[0] == 0
    assert (job.opt_ml / "model/seen.json").exists()


@pytest.mark.parametrize(
    "script, reason",
    [
        ("raise ValueError('row 7')", r"ValueError: row 7 (at my train.py:1 in <module>)"),
        ("import sys; sys.exit(3)", "SystemExit: 3"),
        ("import os; os._exit(0)", "os._exit(0)"),
        ("pass", "training left nothing"),
        ("def f(:", "SyntaxError"),
    ],
)
def test_a_script_that_fails_is_told_as_a_model_is(job: Job, script: str, reason: str) -> None:
    bring(job, script)
    assert job.run()[0] != 0
    assert reason in str(job.failure)


@pytest.mark.parametrize("end", ["sys.exit()", "sys.exit(0)"])
def test_a_script_may_end_with_exit_code_0(job: Job, end: str) -> None:
    bring(job, f"{SCRIPT}\n{end}")
    assert job.run()[0] == 0
    assert job.failure is None


def test_a_script_that_is_stopped_unwinds_and_keeps_what_it_saved(job: Job) -> None:
    bring(
        job,
        "import os, time\nopen(os.environ['SM_MODEL_DIR'] + '/epoch', 'w').close()\n"
        "try:\n    time.sleep(60)\nfinally:\n    open(os.environ['SM_MODEL_DIR'] + '/last', 'w').close()",
    )
    process = job.start()
    while not (job.opt_ml / "model/epoch").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
    assert (job.opt_ml / "model/last").exists()
    assert job.failure is None


@pytest.mark.parametrize("name", ["../model.py", "absent.py", "/etc/passwd"])
def test_a_script_outside_of_its_folder_is_not_run(job: Job, name: str) -> None:
    bring(job, SCRIPT)
    job.configure("hyperparameters", {"sagemaker_program": json.dumps(name)})
    assert job.run()[0] == 1
    assert str(job.failure).startswith(f"sagemaker_program {name!r} is not a file in")


def test_an_archive_that_leaves_its_folder_is_refused(job: Job) -> None:
    archive = job.opt_ml / "input/data/code/sourcedir.tar.gz"
    bring(job, SCRIPT, str(archive))
    archive.parent.mkdir(parents=True)
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo("../../outside.py")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    assert job.run()[0] == 1
    assert "sourcedir.tar.gz cannot be unpacked" in str(job.failure)


def test_an_image_that_is_given_no_command_trains_where_there_is_a_job(source: Path, tmp_path: Path) -> None:
    job = Job(source, tmp_path, training("save(job)"))
    assert job.run(command=None) == (64, "usage: docker run IMAGE {train|serve}\n")
    job.configure("hyperparameters", {})
    assert job.run(command=None)[0] == 0
    assert (job.opt_ml / "model/model").exists()
