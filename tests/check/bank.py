"""The healthy image and its mutants, built and checked a few at a time."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import threading
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from mutants import Mutant

from sagegen.check.core import Area, Outcome
from sagegen.check.limits import Limits
from sagegen.check.progress import Silent
from sagegen.check.reports import Report
from sagegen.check.rig import Payload
from sagegen.check.run import Request, choose, run
from sagegen.engine import Engine, make_tar

HERE = Path(__file__).parent
REPOSITORY = f"sagegen-mutants-{uuid.uuid4().hex[:8]}"
BASE_IMAGE = os.environ.get("SAGEGEN_BASE_IMAGE", "python:{python}-slim").replace("{python}", "3.13")
PARALLEL = 5
SCALE = 0.1


class Registry(ThreadingHTTPServer):
    """As much of a registry as tells the kind of a manifest."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Registry)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def host(self) -> str:
        """What an image's name begins with."""
        return f"127.0.0.1:{self.server_port}"


class _Registry(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        kind = "application/vnd.oci.image.index.v1+json"
        body = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": []}).encode()
        self.send_response(200)
        self.send_header("Content-Type", kind if "/manifests/" in self.path else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Docker-Content-Digest", f"sha256:{hashlib.sha256(body).hexdigest()}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None:
        """Silence."""


class Bank:
    """Builds images and checks them, on request, several at a time."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self.engine = engine
        # pytest changes the environment beside our threads: there, looking up proxies in it may fail, and so
        # may a new process that is given it.
        engine.client.api.trust_env = False
        self._environment = dict(os.environ)
        self._run = os.environ["SAGEGEN_TEST_RUN"]  # what conftest.py removes by
        self._pool = ThreadPoolExecutor(PARALLEL)
        self._reports: dict[Mutant, Future[Report]] = {}
        self.hostile: dict[str, Future[Report]] = {}
        self._built: list[str] = []
        self._registries: list[Registry] = []
        files = {path.name: path.read_text() for path in (HERE / "healthy").iterdir()}
        self.healthy = self.build("healthy", files, {"BASE_IMAGE": BASE_IMAGE})
        self._files = files
        self.with_model = folder / "opt_ml"
        shutil.copytree(HERE / "opt_ml", self.with_model)
        (self.with_model / "model").mkdir()
        (self.with_model / "model/model.json").write_text('{"bias": 1.0, "epochs": 4, "n": 48}')

    def build(self, tag: str, files: dict[str, str], arguments: dict[str, str] | None = None) -> str:
        """Build a small image."""
        context = io.BytesIO()
        with tarfile.open(fileobj=context, mode="w") as archive:
            for name, text in files.items():
                entry = tarfile.TarInfo(name)
                entry.mode, entry.size = 0o755, len(text.encode())
                archive.addfile(entry, io.BytesIO(text.encode()))
        context.seek(0)
        name = f"{REPOSITORY}:{tag.lower()}"
        for line in self.engine.client.api.build(
            fileobj=context,
            custom_context=True,
            tag=name,
            buildargs=arguments,
            labels={"sagegen.test": self._run},
            rm=True,
            forcerm=True,
            decode=True,
        ):
            assert "error" not in line, line["error"]
        if name not in self._built:
            self._built.append(name)
        return name

    def source(self, name: str) -> str:
        """A program of the healthy image."""
        return self._files[name]

    def mutant(self, mutant: Mutant) -> str:
        """Make the image of a mutant."""
        if mutant.made == "arm64":
            return self._for_another_processor()
        if mutant.made == "oci":
            return self._pushed_as_an_index()
        changed: dict[str, str] = {}
        for file, old, new in mutant.patches:
            text = changed.get(file, self._files[file])
            assert text.count(old) == 1, f"{mutant.id}: {old!r} is {text.count(old)} times in {file}"
            changed[file] = text.replace(old, new)
        lines = [f"FROM {self.healthy}"]
        if changed:
            lines.append(f"COPY {' '.join(changed)} /opt/program/")
        lines.append(mutant.dockerfile)
        return self.build(mutant.id, {**changed, "Dockerfile": "\n".join(lines) + "\n"})

    def _for_another_processor(self) -> str:
        """The programs alone, on no base: nothing in it has to run here."""
        archive = make_tar(
            {"bin/sh": b"", **{f"opt/program/{n}": t.encode() for n, t in self._files.items()}}
        )
        name = f"{REPOSITORY}:arm64"
        command = [
            "docker",
            "import",
            "--platform",
            "linux/arm64",
            "--change",
            f"LABEL sagegen.test={self._run}",
            "--change",
            'ENTRYPOINT ["/opt/program/entry"]',
        ]
        subprocess.run(
            [*command, "-", name], env=self._environment, input=archive, check=True, capture_output=True
        )
        self._built.append(name)
        return name

    def _pushed_as_an_index(self) -> str:
        """The healthy image in a registry that calls it an OCI index, which is what plain buildx pushes."""
        registry = Registry()
        self._registries.append(registry)
        name = f"{registry.host}/healthy:pushed"
        self.engine.client.images.get(self.healthy).tag(name)
        self._built.append(name)
        return name

    @cached_property
    def healthy_report(self) -> Future[Report]:
        """What the check finds on the healthy image."""
        return self._pool.submit(self.check, self.healthy, again=True)

    def report(self, mutant: Mutant) -> Report:
        """What the check finds; those of all selected mutants begin together."""
        if mutant not in self._reports:
            self.begin([mutant])
        return self._reports[mutant].result()

    def begin(self, mutants: list[Mutant]) -> None:
        """Start checking."""
        for mutant in mutants:
            self._reports[mutant] = self._pool.submit(self._check, mutant)

    def _check(self, mutant: Mutant) -> Report:
        image = self.mutant(mutant)
        report = self.check(image, mutant.only, mutant.rules, mutant.patience)
        judged = {rule.id for rule in report.verdicts}
        if set(breaches(report)) != ({mutant.breaks} & judged) | mutant.also:
            # Checks that share two processors are late where one alone is not: look twice, as for users.
            report = self.check(image, mutant.only, mutant.rules, mutant.patience, again=True)
        return report

    def check_hostile(self, name: str, program: str, rules: tuple[str, ...], patience: float) -> Report:
        """Check an image whose `train` and `serve` are such a program."""
        dockerfile = f"FROM {self.healthy}\nCOPY train serve /opt/program/\n"
        files = {"train": program, "serve": program, "Dockerfile": dockerfile}
        return self.check(self.build(f"hostile-{name}", files), rules=rules, patience=patience)

    def begin_hostile(self, programs: dict[str, str], rules: tuple[str, ...], patience: float) -> None:
        """Start checking such images and, beside them, the healthy one, after all the others."""
        self.beside = self._pool.submit(self.check, self.healthy, rules=rules, patience=patience)
        self.hostile = {
            name: self._pool.submit(self.check_hostile, name, program, rules, patience)
            for name, program in programs.items()
        }

    def check(
        self,
        image: str,
        only: tuple[str, ...] = (),
        rules: tuple[str, ...] = (),
        patience: float = 25.0,
        again: bool = False,
    ) -> Report:
        """`sagegen check`, with short waits."""
        payload = Payload((HERE / "rows.csv").read_bytes(), "text/csv")
        chosen = tuple(choose(only, rules, ()))
        limits = Limits.make(patience)
        # Where training is not judged, a model is given and need not be trained.
        opt_ml = HERE / "opt_ml" if any(rule.area is Area.TRAIN for rule in chosen) else self.with_model
        return run(self.engine, Request(image, chosen, opt_ml, payload, limits=limits, again=again), Silent())

    def close(self) -> None:
        """Remove the images."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        for registry in self._registries:
            registry.shutdown()
        for name in reversed(self._built):
            self.engine.client.api.remove_image(name, force=True)


def breaches(report: Report) -> dict[str, str]:
    """The rules that warn or fail, and what they say."""
    bad = (Outcome.FAIL, Outcome.WARN)
    return {rule.id: f"{v.outcome} {v.text}" for rule, v in report.verdicts.items() if v.outcome in bad}
