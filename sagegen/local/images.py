"""Which image a request means."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sagegen.local.cloud import Cloud
from sagegen.local.wire import Fault, invalid, not_emulated

ECR = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/(.+)")


@dataclass(frozen=True)
class Image:
    """An image as the engine runs it."""

    name: str  # as the request has it
    identity: str  # the engine's name of it
    digest: str

    @property
    def resolved(self) -> str:
        """Its name by digest, as DescribeEndpoint tells."""
        head, _, last = self.name.rpartition("/")
        repository = re.split("[:@]", last)[0]
        return f"{head}/{repository}@{self.digest}" if head else f"{repository}@{self.digest}"


def find(cloud: Cloud, name: str, *, hosting: bool = False) -> Image:
    """The image that a request names: the engine's own. Raises Fault where there is none.

    AWS takes images of ECR alone. Here a name that the engine knows does as well: nobody must push first.
    """
    if parts := ECR.fullmatch(name):
        if parts[2] != cloud.region:
            raise invalid(f"The image '{name}' must be in the region {cloud.region} (IMG-06).")
        raise not_emulated(f"images of ECR ({name}): name an image of the engine")
    found = cloud.lab.inspect(name)
    if found is None:
        raise Fault("ValidationException", f"Requested image {name} not found.")
    return Image(name, found["Id"], found["Id"])
