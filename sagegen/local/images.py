"""Which image a request means, and whether SageMaker takes it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sagegen.engine import TROUBLE
from sagegen.local.cloud import ACCOUNT
from sagegen.local.registry import DOCKER, Registry
from sagegen.local.wire import invalid

ECR = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/([^:@]+)(?::([^@]+))?(?:@(.+))?")


@dataclass(frozen=True)
class Image:
    """An image as the engine runs it."""

    name: str  # as the request has it
    identity: str  # the engine's name of it
    digest: str

    @property
    def resolved(self) -> str:
        """Its name by digest, as DescribeEndpoint tells."""
        head, slash, last = self.name.rpartition("/")
        return f"{head}{slash}{re.split('[:@]', last)[0]}@{self.digest}"


class Images:
    """The images of the account's registry, and those that the engine has."""

    def __init__(self, registry: Registry) -> None:
        self.registry, self.cloud = registry, registry.cloud

    def find(self, name: str, *, hosting: bool = False) -> Image:
        """The image that a request names, known to the engine. Raises Fault where SageMaker would refuse it.

        AWS takes images of ECR alone. Here a name that the engine knows does as well: nobody must push first.
        """
        if not (parts := ECR.fullmatch(name)) and not name.startswith(f"{self.cloud.host}/"):
            found = self.cloud.lab.inspect(name)
            if found is None:
                raise invalid(f"Requested image {name} not found.")
            return Image(name, found["Id"], found["Id"])
        if parts is None:
            raise invalid(f"Requested image {name} not found: name it {self.cloud.registry}/…")
        account, region, repository, tag, by_digest = parts.groups()
        if region != self.cloud.region:
            raise invalid(f"The image {name} must be in the region {self.cloud.region} (IMG-06).")
        kept = self.registry.find(repository, by_digest or tag or "latest") if account == ACCOUNT else None
        if kept is None:
            raise invalid(f"Requested image {name} not found.")
        kind, digest = kept
        if hosting and kind != DOCKER:
            raise invalid(
                f"Unsupported manifest media type {kind} for image {name}. Ensure that valid manifest media"
                " type is used for specified image."
            )
        return Image(name, self._pull(repository, digest), digest)

    def _pull(self, repository: str, digest: str) -> str:
        place = f"{self.cloud.host}/{repository}"
        try:
            return self.cloud.lab.pull(place, digest, self.registry.login)
        except TROUBLE as error:
            raise invalid(f"The image {repository}@{digest} cannot be pulled: {error}") from error
