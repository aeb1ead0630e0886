"""Script mode: a training script that comes with the job and not with the image (T-84).

SDK v2's Estimator(entry_point=..., source_dir=...) names it in two hyperparameters. The script finds SM_*
variables and its hyperparameters as --arguments, as in AWS's images (T-73). SDK v3 brings its own launcher.
"""

import importlib
import json
import os
import runpy
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from byoc import channels, job, machine, paths
from byoc.errors import JobError
from byoc.hyperparameters import PLATFORM_PREFIXES

Raw = Mapping[str, Any]


def requested(raw: Raw) -> str | None:
    """The script that the job wants to be run, such as train.py; None if it brings none."""
    return _value(raw.get("sagemaker_program")) or os.environ.get("SAGEMAKER_PROGRAM") or None


def run(program: str, raw: Raw) -> None:
    """Run the script to its end in this process. A script that ends with sys.exit(0) has succeeded.

    Raises JobError if the script cannot be found.
    """
    source = str(_value(raw.get("sagemaker_submit_directory")) or paths.base() / "code")
    folder = Path(_download(source) if source.startswith("s3://") else source)
    if folder.is_file():
        folder = channels.unpack(folder, Path(mkdtemp(prefix="code-")))
    script = folder / program
    if not script.resolve().is_relative_to(folder.resolve()) or not script.is_file():
        raise JobError(f"sagemaker_program {program!r} is not a file in {source}")
    if script.suffix != ".py":
        raise JobError(f"sagemaker_program {program!r} is not a Python file")
    values = {key: _value(text) for key, text in raw.items() if not key.startswith(PLATFORM_PREFIXES)}
    os.environ.update(_environment(values, program, folder))
    os.chdir(folder)
    sys.path.insert(0, str(script.parent))
    sys.argv = [program, *_arguments(values)]
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as end:
        if end.code not in (None, 0):
            raise


def _environment(values: Raw, program: str, folder: Path) -> dict[str, str]:
    resources, given = job.config("resourceconfig"), job.config("inputdataconfig")
    hosts, current = job.hosts(resources)
    variables: dict[str, Any] = {
        "SM_MODEL_DIR": paths.model(),
        "SM_INPUT_DIR": paths.base() / "input",
        "SM_INPUT_CONFIG_DIR": paths.base() / "input/config",
        "SM_OUTPUT_DIR": paths.base() / "output",
        "SM_OUTPUT_DATA_DIR": paths.output_data(),
        "SM_CHANNELS": sorted(given),
        "SM_HPS": values,
        "SM_HOSTS": hosts,
        "SM_CURRENT_HOST": current,
        "SM_NETWORK_INTERFACE_NAME": resources.get("network_interface_name", "eth0"),
        "SM_CURRENT_INSTANCE_TYPE": resources.get("current_instance_type", "local"),
        "SM_NUM_GPUS": machine.gpus(),
        "SM_NUM_CPUS": machine.cpus(),
        "SM_NUM_NEURONS": 0,
        "SM_LOG_LEVEL": 20,
        "SM_USER_ENTRY_POINT": program,
        "SM_USER_ARGS": _arguments(values),
        "SM_MODULE_NAME": Path(program).stem,
        "SM_MODULE_DIR": folder,
        "SM_RESOURCE_CONFIG": resources,
        "SM_INPUT_DATA_CONFIG": given,
    }
    variables |= {f"SM_CHANNEL_{name.upper()}": paths.channel(name) for name in given}
    variables |= {f"SM_HP_{key.upper().replace('-', '_')}": value for key, value in values.items()}
    return {
        name: str(value) if isinstance(value, (str, Path)) else json.dumps(value)
        for name, value in variables.items()
    }


def _arguments(values: Raw) -> list[str]:
    """`--name value` of each hyperparameter, and `-n value` of those with one letter."""
    arguments = []
    for key, value in sorted(values.items()):
        text = json.dumps(value) if isinstance(value, (list, dict)) else str(value)
        arguments += [f"-{key}" if len(key) == 1 else f"--{key}", text]
    return arguments


def _value(text: Any) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError):
        return text


def _download(uri: str) -> Path:
    try:
        boto3 = importlib.import_module("boto3")
    except ImportError:
        raise JobError(
            f"{uri} must be downloaded: add boto3 to requirements.txt, or let SageMaker bring the script"
            " (enable_network_isolation=True)"
        ) from None
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    archive = Path(mkdtemp(prefix="code-"), "sourcedir.tar.gz")
    try:
        boto3.client("s3").download_file(bucket, key, str(archive))
    except Exception as error:
        raise JobError(f"{uri} cannot be downloaded: {error}") from None
    return archive
