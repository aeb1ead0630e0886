"""What a scenario works with: the lab, the fixture, the payload and the limits."""

from __future__ import annotations

import shlex
import threading
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sagegen.check.core import Skip
from sagegen.check.fixture import Fixture, Job
from sagegen.check.limits import Limits
from sagegen.engine import Box, Lab, Spec, Volume, make_tar
from sagegen.platform import PORT, job_environment

if TYPE_CHECKING:
    from sagegen.check.endpoint import Startup
    from sagegen.check.probe import Address

JOB_ENVIRONMENT = job_environment("sagegen-check")


@dataclass(frozen=True)
class Payload:
    """A request that the model should answer."""

    body: bytes
    content_type: str


@dataclass(frozen=True)
class Kept:
    """A healthy server that stays up for a later scenario."""

    startup: Startup
    box: Box
    address: Address
    place: ExitStack  # takes it down


class Rig:
    """Shared by all scenarios of one check."""

    def __init__(self, lab: Lab, fixture: Fixture, payload: Payload | None, limits: Limits) -> None:
        self.lab = lab
        self.fixture = fixture
        self.payload = payload
        self.limits = limits
        self._data: dict[str, str] = {}
        self._kept: dict[str, Kept] = {}
        self._lock = threading.Lock()

    @property
    def labels(self) -> dict[str, str]:
        """The image's labels."""
        return self.lab.attributes["Config"].get("Labels") or {}

    def claims(self, capability: str) -> bool:
        """Whether the image says, by SageMaker's label, that it has a capability."""
        return self.labels.get(f"com.amazonaws.sagemaker.capabilities.{capability}", "").lower() == "true"

    def declares(self, feature: str) -> bool:
        """Whether the image says, by a label for which SageMaker has none, that it has a feature."""
        return feature in self.labels.get("sagegen.features", "").split()

    def require(self, feature: str) -> None:
        """Skip the scenario where the image does not claim a feature by the check's own label."""
        if not self.declares(feature):
            raise Skip(f'not claimed: the image has no label sagegen.features="{feature}"')

    def keep(self, purpose: str, kept: Kept) -> None:
        """Leave a healthy server to a later scenario; one that no scenario takes ends with the lab."""
        self._kept[purpose] = kept

    def take(self, purpose: str) -> Kept | None:
        """Take over such a server, if there is one."""
        return self._kept.pop(purpose, None)

    def data(self, kind: str) -> str:
        """The volume with the channels, made once for each kind."""
        with self._lock:
            if kind not in self._data:
                with self.fixture.data(kind) as archive:
                    self._data[kind] = self.lab.volume(archive)
            return self._data[kind]

    def training(self, job: Job, network: str | None) -> tuple[Spec, str]:
        """What to run for a training job, and the line that reproduces it."""
        tree = self.lab.volume()
        data = self.lab.volume(self.fixture.data(job.data)) if job.writable_data else self.data(job.data)
        volumes = (Volume(tree, "/opt/ml"), Volume(data, "/opt/ml/input/data", not job.writable_data))
        spec = job.spec(JOB_ENVIRONMENT, volumes, network if job.network else None)
        spec = replace(spec, tty=job.tty)
        mounts = ['-v "$w":/opt/ml'] + (
            [] if job.writable_data else ['-v "$w/input/data":/opt/ml/input/data:ro']
        )
        run = self._line(spec, mounts)
        line = f'{self.fixture.prepare(job)} && {run}; echo "exit code $?"; cat "$w/output/failure"'
        return spec, line

    def serving(self, spec: Spec, *, model: str = "ro") -> str:
        """The line that reproduces a serving container. `model` is its mount: ro, rw, corrupt or none."""
        prepare = self.fixture.prepare(self.fixture.job)
        if not self.fixture.is_neutral and not self.fixture.given_model():
            prepare += (
                f" && {self._line(Spec(command=('train',)), ['-v', chr(34) + '$w' + chr(34) + ':/opt/ml'])}"
            )
        if model == "corrupt":
            prepare += ' && find "$w/model" -type f -exec sh -c \'echo garbage > "$1"\' - {} \\;'
        mode = "rw" if model == "rw" else "ro"
        port = spec.environment.get("SAGEMAKER_BIND_TO_PORT", str(PORT))
        return f"{prepare} && " + self._line(
            spec, [f"-p {port}:{port}", f'-v "$w/model":/opt/ml/model:{mode}']
        )

    def _line(self, spec: Spec, more: list[str]) -> str:
        given = {n: v for n, v in self.lab.environment.items() if n not in spec.environment}
        spec = replace(spec, environment={**given, **spec.environment})
        options = [shlex.quote(option) for option in spec.options()]
        if self.lab.gpus:
            options.append("--gpus=all")
        if self.lab.cpus and not spec.cpus:
            options.append(f"--cpus={self.lab.cpus:g}")
        extra = [shlex.quote(part) for part in (spec.entrypoint or ())[1:]]
        command = [shlex.quote(part) for part in spec.command]
        image = shlex.quote(self.lab.image)
        return " ".join(["docker run --rm", *options, *more, image, *extra, *command])


def tree(job: Job) -> bytes:
    """The job's /opt/ml as a tar archive."""
    return make_tar(job.files())
