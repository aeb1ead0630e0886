"""`upload`: the image to ECR and the training data to S3, each under the hash of what it is made from."""

import hashlib
import json
import os
import shlex
import subprocess
import tarfile
import tempfile
from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path

from deploy.calls import Aws
from deploy.settings import ROOT, Refusal

#: What decides the image. The base image moves on its own: `make push` builds with a newer one.
SOURCES = ("Dockerfile", "apt.txt", "requirements.txt", "requirements-serving.txt", "requirements", "src")


def run(aws: Aws, args: Namespace) -> str:
    """Send what is not there yet."""
    if aws.ask("s3", "head_bucket", Bucket=aws.bucket) is None and not aws.dry_run:
        raise Refusal(
            f"there is no s3://{aws.bucket} – run 'make up', or name your bucket in deploy/settings.toml"
        )
    image = _image(aws)
    data = ROOT / aws.settings["data"]["channels"]
    folders = sorted(folder for folder in data.glob("*") if folder.is_dir())
    channels = {folder.name: _folder(aws, folder, f"data/{folder.name}") for folder in folders}
    artifact = aws.settings["data"]["artifact"]
    if artifact and not artifact.startswith("s3://"):
        artifact = _artifact(aws, ROOT / artifact)
    aws.ledger.note(image=image, data=channels, **({"artifact": artifact} if artifact else {}))
    return f"uploaded: {image}, and the channels {', '.join(channels) or '(none)'}"


def files(folder: Path) -> list[Path]:
    """The files of a folder or the file itself, in a fixed order, without caches and hidden files."""
    found = [folder] if folder.is_file() else sorted(path for path in folder.rglob("*") if path.is_file())
    return [path for path in found if "__pycache__" not in path.parts and not path.name.startswith(".")]


def digest(paths: Iterable[Path], base: Path, *more: str) -> str:
    """A hash of names and contents."""
    whole = hashlib.sha256(repr(more).encode())
    for path in paths:
        whole.update(path.relative_to(base).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            whole.update(hashlib.file_digest(file, "sha256").digest())
    return whole.hexdigest()[:16]


def _image(aws: Aws) -> str:
    """The image's URI by digest, built and pushed unless ECR has it."""
    name, base = aws.settings["name"], os.environ.get("BASE_IMAGE", "")
    options = shlex.split(os.environ.get("BUILD_ARGS", ""))
    options += ["--build-arg", f"BASE_IMAGE={base}"] if base else []
    sources = [path for source in SOURCES for path in files(ROOT / source)]
    tag = f"src-{digest(sources, ROOT, *options)}"
    if not (known := _pushed(aws, tag)):
        command = ["bash", "build_and_push.sh", "--region", aws.region, "--account", aws.account]
        command += ["--tag", tag, "--", *options]
        if aws.dry_run:
            print(shlex.join(command))
            return f"{aws.account}.dkr.ecr.{aws.region}.amazonaws.com/{name}@sha256:{'0' * 64}"
        undo = {"repositoryName": name, "imageIds": [{"imageTag": tag}]}
        aws.ledger.begin(f"image {name}:{tag}", "ecr", "batch_delete_image", undo)
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise Refusal("the image was not pushed: see above")
        _question(aws, done.stdout.strip(), tag)
        known = _pushed(aws, tag)
    domain = "amazonaws.com.cn" if aws.region.startswith("cn-") else "amazonaws.com"
    return f"{aws.account}.dkr.ecr.{aws.region}.{domain}/{name}@{known}"


def _pushed(aws: Aws, tag: str) -> str:
    """The digest of the image with this tag; empty if ECR has none, or its metrics are not known."""
    name, known = aws.settings["name"], aws.ledger.facts.get("asked") == tag
    found = aws.ask("ecr", "describe_images", repositoryName=name, imageIds=[{"imageTag": tag}])
    return str(found["imageDetails"][0]["imageDigest"]) if found and known else ""


def _question(aws: Aws, image: str, tag: str) -> None:
    """Ask the image for its metrics and hyperparameters: they become part of training and tuning jobs."""
    answers = []
    for module in ("byoc.metrics", "byoc.hyperparameters"):
        command = ["docker", "run", "--rm", "--entrypoint", "python", image, "-m", module]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            raise Refusal(f"python -m {module} fails in {image}: see above")
        answers.append(json.loads(done.stdout))
    aws.ledger.note(metrics=answers[0], ranges=answers[1]["ParameterRanges"], asked=tag)


def _folder(aws: Aws, folder: Path, prefix: str) -> str:
    """Send the files of a folder that are not there yet; the URI of all."""
    paths = files(folder)
    prefix = f"{prefix}/{digest(paths, folder)}/"
    uri, there = aws.own_prefix(prefix), aws.keys(prefix)
    for path in paths:
        key = prefix + path.relative_to(folder).as_posix()
        if there.get(key) != path.stat().st_size:
            aws.put(path, key)
    return uri


def _artifact(aws: Aws, folder: Path) -> str:
    """Pack a model that is trained already; its URI."""
    if not (paths := files(folder)):
        raise Refusal(f"{folder.relative_to(ROOT)} has no files – see data.artifact in deploy/settings.toml")
    prefix = f"artifacts/{digest(paths, folder)}/"
    aws.own_prefix(prefix)
    key = f"{prefix}model.tar.gz"
    if key not in aws.keys(prefix):
        with tempfile.NamedTemporaryFile(suffix=".tar.gz") as packed:
            with tarfile.open(fileobj=packed, mode="w:gz") as archive:
                for path in paths:
                    archive.add(path, path.relative_to(folder).as_posix())
            packed.flush()
            aws.put(Path(packed.name), key)
    return f"s3://{aws.bucket}/{key}"
