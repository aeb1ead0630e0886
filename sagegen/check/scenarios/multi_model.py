"""Multi-model endpoints: models come and go over HTTP."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from sagegen.check.core import Evidence, Skip, scenario
from sagegen.check.endpoint import Startup, headers, patience, served
from sagegen.check.probe import Client, Exchange
from sagegen.check.rig import Rig
from sagegen.check.scenarios.artifacts import MODEL
from sagegen.check.scenarios.startup import START
from sagegen.engine import Volume

CYCLES = 20
LABEL = "com.amazonaws.sagemaker.capabilities.multi-models"


@dataclass
class Models:
    """What the model API answered. A name is random, as SageMaker's are."""

    startup: Startup
    empty_ping: Exchange | None = None
    empty_list: Exchange | None = None
    load: Exchange | None = None
    load_again: Exchange | None = None
    load_bogus: Exchange | None = None
    load_second: Exchange | None = None
    listed: Exchange | None = None
    described: Exchange | None = None
    unknown: Exchange | None = None
    invoked: Exchange | None = None
    invoked_unknown: Exchange | None = None
    unload: Exchange | None = None
    after_unload: Exchange | None = None
    unload_unknown: Exchange | None = None
    pings_while_loading: list[Exchange] = field(default_factory=list)
    invoked_while_loading: list[Exchange] = field(default_factory=list)
    loaded_together: list[Exchange] = field(default_factory=list)
    cycles: list[Exchange] = field(default_factory=list)
    names: tuple[str, str] = ("", "")
    url: str = ""

    @property
    def line(self) -> str:
        """What reproduces it."""
        return self.startup.line

    def loaded(self) -> None:
        """Raise Skip unless a model could be loaded."""
        if not self.startup.ok:
            raise Skip("not healthy without models, see M-03")
        if not self.load or not self.load.ok:
            raise Skip("no model could be loaded, see M-04")


@scenario("multi-model", after=(START, MODEL))
def MODELS(rig: Rig, evidence: Evidence) -> Models:
    """Loads, lists, invokes and unloads models as a multi-model endpoint does."""
    if not rig.claims("multi-models"):
        raise Skip(f"not claimed: the image has no label {LABEL}=true")
    artifact = evidence[MODEL]
    ordinary = evidence[START]
    url = "/opt/ml/models/first/model"
    volumes = (Volume(artifact.volume, url, read_only=True),)
    seconds = patience(rig, ordinary) + 10
    with served(
        rig, evidence, seconds=seconds, volumes=volumes, environment={"SAGEMAKER_MULTI_MODEL": "true"}
    ) as (startup, _, address):
        names = (secrets.token_hex(32), secrets.token_hex(32))
        found = Models(startup, names=names, url=url)
        if not address or artifact.neutral:
            if address:
                raise Skip("there is no model to load – give your data with --opt-ml")
            return found
        _talk(rig, found, Client(address, rig.limits.invocation, 150))
        return found


def _talk(rig: Rig, found: Models, client: Client) -> None:
    first, second = found.names

    def load(name: str, url: str = found.url) -> Exchange:
        body = json.dumps({"model_name": name, "url": url}).encode()
        return client.ask("POST", "/models", body, {"Content-Type": "application/json"})

    def invoke(name: str) -> Exchange:
        more = {"X-Amzn-SageMaker-Target-Model": "first.tar.gz"}
        kind = headers(rig.payload) if rig.payload else {"Content-Type": "application/json"}
        body = rig.payload.body if rig.payload else b"{}"
        return client.ask("POST", f"/models/{name}/invoke", body, {**kind, **more})

    def unload(name: str) -> Exchange:
        return client.ask("DELETE", f"/models/{name}")

    found.empty_ping = client.ask("GET", "/ping", seconds=rig.limits.ping)
    found.empty_list = client.ask("GET", "/models")
    found.unknown = client.ask("GET", f"/models/{second}")
    found.unload_unknown = unload(second)
    found.invoked_unknown = invoke(second)
    found.load_bogus = load(second, "/opt/ml/models/nowhere/model")
    found.load = load(first)
    if not found.load.ok:
        return
    found.load_again = load(first)
    found.listed = client.ask("GET", "/models")
    found.described = client.ask("GET", f"/models/{first}")
    if rig.payload:
        found.invoked = invoke(first)
    _meanwhile(rig, found, client, invoke, load)
    found.load_second = found.loaded_together[0] if found.loaded_together else None
    found.unload = unload(first)
    found.after_unload = client.ask("GET", f"/models/{first}")
    for _ in range(CYCLES):
        found.cycles += [load(first), unload(first)]


def _meanwhile(
    rig: Rig,
    found: Models,
    client: Client,
    invoke: Callable[[str], Any],
    load: Callable[[str], Any],
) -> None:
    """Ping and invoke one model while others are being loaded."""
    first, second = found.names
    others = [second, secrets.token_hex(32)]
    with ThreadPoolExecutor(3) as pool:
        loading = [pool.submit(load, name) for name in others]
        for _ in range(20):
            found.pings_while_loading.append(client.ask("GET", "/ping", seconds=rig.limits.ping))
            if rig.payload:
                found.invoked_while_loading.append(invoke(first))
            if all(future.done() for future in loading):
                break
            time.sleep(0.05)
        found.loaded_together = [future.result() for future in loading]


def content(exchange: Exchange | None) -> Any:
    """An answer's JSON, or None."""
    try:
        return json.loads(exchange.body) if exchange else None
    except ValueError:
        return None
