"""The model on its way from training to hosting."""

from __future__ import annotations

import gzip
import tarfile
import tempfile
from dataclasses import dataclass
from typing import IO

from sagegen.check.core import Evidence, scenario
from sagegen.check.rig import Rig
from sagegen.check.scenarios.train import TRAIN
from sagegen.engine import SPOOL_BYTES, make_tar


def to_tar_gz(archive: IO[bytes]) -> IO[bytes]:
    """The model folder as SageMaker stores it: model.tar.gz without the folder's own name."""
    archive.seek(0)
    out: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115
    with (
        gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1) as packed,
        tarfile.open(fileobj=archive, mode="r|") as source,
        tarfile.open(fileobj=packed, mode="w") as target,
    ):
        for entry in source:
            entry.name = entry.name.partition("/")[2]
            if not entry.name or not (entry.isfile() or entry.isdir()):
                continue
            # It is not documented which user extracts the archive: the check lets every user read the files.
            entry.mode |= 0o755 if entry.isdir() else 0o644
            entry.uid = entry.gid = 0
            target.addfile(entry, source.extractfile(entry) if entry.isfile() else None)
    out.seek(0)
    return out


@dataclass(frozen=True)
class Artifact:
    """Volumes with a model as the endpoint will see it."""

    volume: str
    neutral: bool
    corrupt: str | None


@scenario("model", after=(TRAIN,))
def MODEL(rig: Rig, evidence: Evidence) -> Artifact:
    """Packs the trained model as model.tar.gz and unpacks it for hosting."""
    packed: IO[bytes] | None = None
    if given := rig.fixture.given_model():
        packed = tempfile.SpooledTemporaryFile()  # noqa: SIM115
        packed.write(given)
    elif (base := evidence.get(TRAIN)) and base.run.ok and base.run.model and base.run.model_archive:
        packed = to_tar_gz(base.run.model_archive)
    if packed is None:
        return Artifact(rig.lab.volume(make_tar({})), True, None)
    with packed:
        packed.seek(0)
        volume = rig.lab.volume(packed)
        packed.seek(0)
        corrupt = rig.lab.volume(_corrupted(packed))
    return Artifact(volume, False, corrupt)


def _corrupted(packed: IO[bytes]) -> bytes:
    with tarfile.open(fileobj=packed, mode="r:gz") as source:
        names = [entry.name for entry in source if entry.isfile()]
    return make_tar(dict.fromkeys(names, b"\x00garbage, not a model\xff" * 3))
