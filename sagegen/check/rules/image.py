"""Chapter IMG and the static half of T and S: what can be seen without training or serving."""

from __future__ import annotations

import re
from collections.abc import Iterable

from sagegen.check.core import (
    Area,
    Evidence,
    Verdict,
    broken,
    doubtful,
    passed,
    rule,
    skipped,
    unclaimed,
)
from sagegen.check.limits import Limits
from sagegen.check.pages import DOCKERFILE, INFERENCE
from sagegen.check.scenarios.image import IMAGE, Image

STATIC = Area.STATIC
NEEDS = (IMAGE,)
ROOT = ("", "0", "root", "0:0", "root:root", "0:root", "root:0")


def _command(image: Image, name: str) -> Verdict:
    """Whether a program gets the argument `name`, and can run."""
    if image.entrypoint:
        return passed(f"the ENTRYPOINT gets the argument {name}")
    program = image.programs.get(name)
    if not program:
        return broken(f"no ENTRYPOINT, and no file {name} on the PATH", image.line)
    if not program.mode & 0o111:
        return broken(
            f"{program.path} is not executable", image.listing(program.path), mode=oct(program.mode)
        )
    return passed(f"{program.path} is executable")


@rule(
    "T-02",
    STATIC,
    why="Without an ENTRYPOINT Docker looks for an executable `train` on the PATH, and the job dies at once.",
    fix="Put an executable `train` on the PATH (COPY --chmod=0755), or set an exec-form ENTRYPOINT.",
    page=DOCKERFILE,
    needs=NEEDS,
)
def train_command(evidence: Evidence) -> Verdict:
    return _command(evidence[IMAGE], "train")


@rule(
    "S-02",
    STATIC,
    why="Without an ENTRYPOINT Docker looks for an executable `serve` on the PATH; else no endpoint starts.",
    fix="Put an executable `serve` on the PATH (COPY --chmod=0755), or set an exec-form ENTRYPOINT.",
    page=INFERENCE,
    needs=NEEDS,
)
def serve_command(evidence: Evidence) -> Verdict:
    return _command(evidence[IMAGE], "serve")


@rule(
    "T-03",
    STATIC,
    why="In shell form PID 1 is a shell that keeps SIGTERM to itself and drops the argument `train`.",
    fix='Write ENTRYPOINT ["program", "argument"] instead of ENTRYPOINT program argument.',
    page=DOCKERFILE,
    needs=NEEDS,
)
def exec_form(evidence: Evidence) -> Verdict:
    image = evidence[IMAGE]
    shell = len(image.entrypoint) > 1 and re.search(r"(^|/)(ba|da|z)?sh$", image.entrypoint[0])
    if shell and image.entrypoint[1] in ("-c", "-lc", "-ec"):
        script = image.entrypoint[2] if len(image.entrypoint) > 2 else ""
        if re.search(r"(^|[;&\n])\s*exec\s[^;&|\n]+$", script.strip()):
            return passed("a shell that becomes the program with exec: PID 1 is the program")
        return broken(f"ENTRYPOINT is a shell: {image.entrypoint}", image.line)
    return passed("exec form" if image.entrypoint else "no ENTRYPOINT")


@rule(
    "T-04",
    STATIC,
    why="SageMaker's documentation forbids it: tini gets confused by the arguments train and serve.",
    fix="Let your own program be PID 1: it forwards SIGTERM and passes on exit codes.",
    page=DOCKERFILE,
    needs=NEEDS,
)
def no_tini(evidence: Evidence) -> Verdict:
    image = evidence[IMAGE]
    name = image.entrypoint[0].rsplit("/", 1)[-1] if image.entrypoint else ""
    if name in ("tini", "tini-static", "docker-init", "dumb-init", "catatonit"):
        return broken(f"ENTRYPOINT is {image.entrypoint}", image.line)
    return passed(f"PID 1 is {name or 'train or serve'}")


@rule(
    "T-07",
    STATIC,
    why="SageMaker mounts its own /opt/ml: what the image has there may be invisible.",
    fix="Keep programs elsewhere, for example in /opt/program.",
    page=DOCKERFILE,
    needs=NEEDS,
)
def nothing_in_opt_ml(evidence: Evidence) -> Verdict:
    image = evidence[IMAGE]
    others = [path for path in image.opt_ml if not path.startswith("/opt/ml/code/")]
    count = len(image.opt_ml)
    if others:
        return broken(f"{others[0]} and {count - 1} more", image.listing("/opt/ml"), files=count)
    if image.opt_ml:
        return doubtful(
            "only /opt/ml/code, as the training toolkit has it", image.listing("/opt/ml"), files=count
        )
    return passed("empty")


@rule(
    "T-10",
    STATIC,
    why="SageMaker makes /opt/ml for root; another user can write neither model nor failure file.",
    fix="Remove USER from the Dockerfile, or end it with USER root.",
    page=INFERENCE,
    needs=NEEDS,
)
def root_user(evidence: Evidence) -> Verdict:
    image = evidence[IMAGE]
    user = image.config.get("User") or ""
    if user not in ROOT:
        return broken(f"USER {user}", image.line)
    return passed("root")


@rule(
    "T-76",
    STATIC,
    why="The driver comes from the host; a second one in the image hides it and CUDA does not start.",
    fix="Install the CUDA runtime only: no nvidia-smi, no libcuda but in compat/ and stubs/.",
    page=DOCKERFILE,
    needs=NEEDS,
)
def no_driver(evidence: Evidence) -> Verdict:
    image = evidence[IMAGE]
    if image.drivers:
        return broken(", ".join(image.drivers[:3]), image.listing(image.drivers[0]), files=len(image.drivers))
    return passed("no driver files")


@rule(
    "T-77",
    STATIC,
    why="The NVIDIA runtime gives a container only the devices and libraries that these variables name.",
    fix="ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility",
    page="https://docs.nvidia.com/datacenter/cloud-native/container-toolkit/latest/docker-specialized.html",
    needs=NEEDS,
)
def gpu_variables(evidence: Evidence) -> Verdict:
    image = evidence[IMAGE]
    if not image.cuda:
        return skipped("no CUDA libraries in the image")
    missing = {"NVIDIA_VISIBLE_DEVICES", "NVIDIA_DRIVER_CAPABILITIES"} - set(image.environment)
    if missing:
        return broken(f"not set: {', '.join(sorted(missing))}", image.line)
    return passed("both are set")


@rule(
    "T-81",
    STATIC,
    why="Remote debugging of a training job opens a shell inside the container.",
    fix="Use a base image with a shell rather than a distroless one.",
    page="train-remote-debugging",
    needs=NEEDS,
)
def has_shell(evidence: Evidence) -> Verdict:
    image = evidence[IMAGE]
    return passed("present") if "/bin/sh" in image.executables else broken("no /bin/sh", image.line)


@rule(
    "IMG-01",
    STATIC,
    why="CreateModel refuses OCI manifests and indexes: an image that trains well cannot be hosted.",
    fix="docker buildx build --provenance=false --sbom=false -o type=image,oci-mediatypes=false,push=true",
    page="https://github.com/aws/amazon-sagemaker-feedback/issues/180",
    needs=NEEDS,
)
def docker_manifest(evidence: Evidence) -> Verdict:
    image = evidence[IMAGE]
    if not image.manifest_type:
        look = f"docker buildx imagetools inspect --raw {image.name}"
        return skipped(f"a local image has no manifest yet; after the push: {look}")
    if ".oci." in image.manifest_type:
        return broken(image.manifest_type, f"docker buildx imagetools inspect --raw {image.name}")
    return passed(image.manifest_type)


@rule(
    "IMG-04",
    STATIC,
    why="All training, batch and most hosting instances are linux/amd64: others end in `exec format error`.",
    fix="Build with --platform linux/amd64 (linux/arm64 only for hosting on Graviton).",
    page="realtime-endpoints-graviton",
    needs=NEEDS,
)
def architecture(evidence: Evidence) -> Verdict:
    image = evidence[IMAGE]
    system, processor = image.attributes.get("Os"), image.attributes.get("Architecture")
    if system != "linux" or processor not in ("amd64", "arm64"):
        return broken(f"{system}/{processor}", image.line)
    if processor == "arm64":
        return broken("linux/arm64 runs on Graviton hosting only: no training, no batch", image.line)
    return passed(f"{system}/{processor}")


@rule(
    "IMG-11",
    STATIC,
    why="An anonymous volume there competes with SageMaker's own mounts and can hide data or models.",
    fix="Remove VOLUME /opt/ml… from the Dockerfile; the base image may have it too.",
    page=DOCKERFILE,
    needs=NEEDS,
)
def no_volume(evidence: Evidence) -> Verdict:
    image = evidence[IMAGE]
    found = [path for path in image.config.get("Volumes") or {} if (path + "/").startswith("/opt/ml/")]
    return broken(f"VOLUME {found[0]}", image.line) if found else passed("none")


@rule(
    "IMG-12",
    STATIC,
    why="A CRLF after the shebang, or no shebang, ends in `no such file` or `exec format error`.",
    fix="Save the files with LF (.gitattributes: * text=auto eol=lf), begin with #!, and set the x bit.",
    page="https://github.com/aws/amazon-sagemaker-examples/issues/744",
    needs=NEEDS,
)
def well_formed(evidence: Evidence) -> Verdict:
    image = evidence[IMAGE]
    if not image.programs:
        return passed("the ENTRYPOINT needs no such scripts")
    for program in image.programs.values():
        first = program.head.split(b"\n", 1)[0]
        if first.endswith(b"\r"):
            return broken(f"{program.path} has CRLF line ends", image.listing(program.path))
        if program.head and not program.head.startswith((b"#!", b"\x7fELF")):
            return broken(f"{program.path} has no shebang", image.listing(program.path))
        if not program.mode & 0o111:
            return broken(f"{program.path} is not executable", image.listing(program.path))
    return passed(", ".join(program.path for program in image.programs.values()))


SECRETS = {
    "an AWS access key": re.compile(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b"),
    "an AWS secret key": re.compile(r"(?i)aws_secret_access_key\s*[=:]\s*['\"]?[A-Za-z0-9/+]{30,}"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a GitHub token": re.compile(r"\b(gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{40,})"),
    "a GitLab token": re.compile(r"\bglpat-[A-Za-z0-9_-]{20,}"),
    "a Hugging Face token": re.compile(r"\bhf_[A-Za-z0-9]{30,}\b"),
    "a Slack token": re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{20,}"),
    "a PyPI token": re.compile(r"\bpypi-AgE[A-Za-z0-9_-]{40,}"),
    "an npm token": re.compile(r"\bnpm_[A-Za-z0-9]{36}\b"),
    "a Google API key": re.compile(r"\bAIza[A-Za-z0-9_-]{35}"),
    "an API key": re.compile(r"\bsk-[A-Za-z0-9_-]{20,}"),
    "a web token": re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\."),
    "a password in a URL": re.compile(r"\b[a-z][a-z0-9+.-]*://[^/\s:@'\"]*:(?![$<{])[^/\s:@'\"]{3,}@"),
    "a header with a credential": re.compile(r"(?i)authorization:\s*(bearer|basic|token)\s+(?![$<{])\S{8,}"),
    "a password": re.compile(
        r"(?i)(?<![\w.])(?![a-z0-9_.-]*(?:bos|eos|pad|unk|mask|sep|cls|stop|start|end|max|min|num)_?token)"
        r"(?:[a-z0-9]+[_.-])*"
        r"(?:pass|passw(?:or)?d|passphrase|pwd|secret|(?:secret|api|access|private)[_-]?key|token|credentials?)"
        r" ?(?:=|: ?)['\"]?"
        r"(?!(?:true|false|none|null|required|optional|disabled|enabled)\b|[$<{\[/.`]|\d+\b|[a-z]+://)"
        r"[^\s'\"]{6,}"
    ),
    "a login": re.compile(r"(?i)\bmachine\s+\S+\s+login\s+\S+\s+password\s+(?![$<{])\S{3,}"),
    "a registry's login": re.compile(r'"auth"\s*:\s*"[A-Za-z0-9+/=]{8,}"'),
}


@rule(
    "SEC-04",
    STATIC,
    why="ENV, labels, build commands and every layer can be read by everybody that may pull the image.",
    fix="Use build secrets (RUN --mount=type=secret) and, at run time, roles or Secrets Manager.",
    page="https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTrainingJob.html",
    needs=NEEDS,
)
def no_secrets(evidence: Evidence) -> Verdict:
    image = evidence[IMAGE]
    labels = [f"{key}={value}" for key, value in (image.config.get("Labels") or {}).items()]
    places = {"ENV": image.config.get("Env") or [], "LABEL": labels, "a build command": image.history}
    for place, texts in places.items():
        if what := _secret(texts):
            return broken(f"{place} holds {what}", f"docker history --no-trunc {image.name}")
    for path, text in image.credentials.items():
        if what := _secret([text]):
            place, _, layer = path.partition(" ")
            return broken(f"{path} holds {what}", image.in_layers(place) if layer else image.listing(place))
    return passed("none found")


def _secret(texts: Iterable[str]) -> str | None:
    """The kind of the first secret in any of the texts."""
    return next((what for text in texts for what, found in SECRETS.items() if found.search(text)), None)


@rule(
    "SV-01",
    STATIC,
    why="A serverless endpoint refuses larger images, and every instance downloads them.",
    fix="Leave compilers, caches and test data out; use a slim base image and multi-stage builds.",
    page="serverless-endpoints",
    needs=NEEDS,
)
def size(evidence: Evidence) -> Verdict:
    image = evidence[IMAGE]
    total = int(image.attributes.get("Size") or 0)
    if total > Limits.make().image_bytes:
        return unclaimed(image.serverless, broken(f"{total / 1e9:.1f} GB", image.line, bytes=total))
    return passed(f"{total / 1e9:.2f} GB", bytes=total)
