"""deploy/settings.toml, checked: every key has a default, so an older file keeps working."""

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
FILE = ROOT / "deploy/settings.toml"
IMAGE_IS_FOR_GPU = True
#: Every setting with its default. The file explains them.
DEFAULTS: dict[str, Any] = {
    "name": "",
    "region": "",
    "bucket": "",
    "role": "",
    "poll_seconds": 15,
    "tags": {},
    "security": {
        "kms_key": "",
        "volume_kms_key": "",
        "subnets": [],
        "security_groups": [],
        "network_isolation": False,
    },
    "data": {"channels": "", "hyperparameters": "", "artifact": ""},
    "train": {
        "instance_type": "",
        "instance_count": 1,
        "volume_gb": 30,
        "max_seconds": 86400,
        "spot": False,
    },
    "tune": {"metric": "", "goal": "Maximize", "jobs": 8, "parallel_jobs": 2},
    "hosting": {
        "mode": "realtime",
        "instance_type": "",
        "instance_count": 1,
        "startup_seconds": 480,
        "strategy": "all_at_once",
        "step_seconds": 300,
        "capture_percent": 0,
        "sns_topic": "",
        "memory_mb": 2048,
        "max_concurrency": 5,
    },
    "scale": {"min_instances": 1, "max_instances": 4, "target": 500},
    "alarms": {"sns_topic": "", "errors_5xx": 5, "latency_ms": 5000},
    "prices": {},
}
CHOICES = {
    "hosting.mode": ("realtime", "serverless", "async", "batch"),
    "hosting.strategy": ("all_at_once", "canary", "linear"),
    "tune.goal": ("Maximize", "Minimize"),
}


class Refusal(Exception):
    """Why a verb cannot go on, and the way out, in one line."""


def read(file: Path = FILE) -> dict[str, Any]:
    """The settings. Raises Refusal with the key that is wrong."""
    try:
        given = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise Refusal(
            f"cannot read {file.name}: {error.strerror} – git checkout it, or copier update"
        ) from None
    except ValueError as error:
        raise Refusal(f"{file.name} is not TOML: {error}") from None
    settings: dict[str, Any] = _merged(DEFAULTS, given, "")
    if not settings["name"] or not settings["region"]:
        raise Refusal(f"name and region must not be empty – fill them in {file.name}")
    for path, allowed in CHOICES.items():
        section, key = path.split(".")
        if settings[section][key] not in allowed:
            raise Refusal(
                f"{path} cannot be {settings[section][key]} – choose {', '.join(allowed)} in {file.name}"
            )
    _check_instances(settings)
    return settings


def _merged(defaults: Mapping[str, Any], given: Mapping[str, Any], path: str) -> dict[str, Any]:
    for key, value in given.items():
        if key not in defaults:
            close = difflib.get_close_matches(key, defaults, n=1)
            raise Refusal(
                f"settings.toml: unknown {path}{key}" + (f" – do you mean {close[0]}?" if close else "")
            )
        if type(value) is not type(defaults[key]):
            wanted = type(defaults[key]).__name__
            raise Refusal(f"settings.toml: {path}{key} must be of type {wanted}, not {type(value).__name__}")
    return {
        key: (
            given.get(key, {}) if key in ("tags", "prices") else _merged(value, given.get(key, {}), f"{key}.")
        )
        if isinstance(value, dict)
        else given.get(key, value)
        for key, value in defaults.items()
    }


def _check_instances(settings: Mapping[str, Any]) -> None:
    """Refuse what would fail after minutes: the image is linux/amd64, for one kind of device."""
    hosting = settings["hosting"]
    for section in ("train", "hosting"):
        kind = settings[section]["instance_type"]
        if section == "hosting" and hosting["mode"] == "serverless":
            continue
        if re.match(r"ml\.[a-z]+[0-9]+g[dn]*\.", kind):
            raise Refusal(
                f"{kind} is linux/arm64 and the image linux/amd64 – choose ml.m7i.large for {section}"
            )
        if (re.match(r"ml\.[gp][0-9]", kind) is not None) != IMAGE_IS_FOR_GPU:
            device, near = ("GPU", "ml.g5.xlarge") if IMAGE_IS_FOR_GPU else ("CPU", "ml.m5.large")
            raise Refusal(f"{kind or 'no instance'} for {section}: the image is for {device} – choose {near}")
    if hosting["capture_percent"] and hosting["mode"] != "realtime":
        raise Refusal("only real-time endpoints capture data – set hosting.capture_percent to 0")
    if hosting["mode"] == "serverless":
        if IMAGE_IS_FOR_GPU:
            raise Refusal("serverless endpoints have no GPU – set hosting.mode to realtime or async")
        if settings["security"]["subnets"] or settings["security"]["network_isolation"]:
            raise Refusal("serverless endpoints take no VPC and no isolation – set hosting.mode to realtime")
