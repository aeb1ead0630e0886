"""The Docker engine: the only package that talks to it.

`connection` finds an engine and its facts, `containers` runs one, `lab` makes and removes those of one check,
`archives` moves files, `images` looks into an image at rest, `sweeping` removes what a killed check left.
"""

from sagegen.engine.archives import SPOOL_BYTES, File, make_tar, read_tar
from sagegen.engine.connection import TROUBLE, ContainerFailed, Engine, Layers, Start, answering
from sagegen.engine.containers import Box, Closed, Exit, Spec, StartFailed, Usage, Volume
from sagegen.engine.disk import DiskWatch
from sagegen.engine.lab import Lab

__all__ = [
    "SPOOL_BYTES", "TROUBLE", "Box", "Closed", "ContainerFailed", "DiskWatch", "Engine", "Exit", "File",
    "Lab", "Layers", "Spec", "Start", "StartFailed", "Usage", "Volume", "answering", "make_tar", "read_tar",
]  # fmt: skip
