"""What a rebuild costs, and how a build fails."""

from __future__ import annotations

import base64
import functools
import http.server
import io
import json
import os
import re
import ssl
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from helpers import BASE_IMAGE, build_image

from sagegen.render import render

IMAGE = f"sagegen-test-build:{os.getpid()}"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("build") / "repository"
    render(folder, {})
    yield folder
    subprocess.run(["docker", "rmi", "--force", IMAGE], check=False, capture_output=True)


@pytest.fixture(scope="module")
def small(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository that installs next to nothing: each build of it may install everything anew."""
    folder = tmp_path_factory.mktemp("small") / "repository"
    render(folder, {})
    (folder / "requirements.txt").write_text("certifi\n")
    (folder / "requirements-serving.txt").write_text("pydantic\n")
    (folder / "src/model.py").write_text("")
    (folder / "src/sklearn.py").write_text('__version__ = "1.0"\n')
    return folder


def build(repository: Path, *arguments: str, base: str = BASE_IMAGE) -> subprocess.CompletedProcess[str]:
    return build_image(repository, IMAGE, *arguments, base=base)


def layers(image: str) -> list[str]:
    inspected = ["docker", "inspect", "--format", '{{join .RootFS.Layers " "}}', image]
    return subprocess.run(inspected, check=True, capture_output=True, text=True).stdout.split()


def test_an_edit_of_the_model_reuses_every_layer_below_the_code(repository: Path) -> None:
    assert build(repository).returncode == 0
    before = layers(IMAGE)
    model = repository / "src/model.py"
    model.write_text(model.read_text() + "\n# edited\n")

    again = build(repository)

    assert again.returncode == 0
    after = layers(IMAGE)
    code = len(before) - 4  # COPY src, compileall, WORKDIR and the import of model.py are the code's own
    assert before[:code] == after[:code]
    assert before[code] != after[code], "the edit did not reach the image"
    ran = [line for line in again.stderr.splitlines() if "RUN" in line and "uv pip install" in line]
    assert len(ran) == 2
    for step in (line.split()[0] for line in ran):
        assert f"{step} CACHED" in again.stderr


def test_make_metrics_prints_the_definitions_for_create_training_job(repository: Path) -> None:
    assert build(repository).returncode == 0
    definitions = json.loads(make(repository, "--silent", "metrics").stdout)
    assert "test_accuracy" in {definition["Name"] for definition in definitions}
    assert all(re.compile(definition["Regex"]).groups == 1 for definition in definitions)


def test_a_requirement_that_does_not_exist_fails_the_build_with_its_name(small: Path) -> None:
    requirements = small / "requirements-serving.txt"
    original = requirements.read_text()
    requirements.write_text("no-such-package-of-sagegen==1.0\n")
    try:
        failed = build(small)
    finally:
        requirements.write_text(original)
    assert failed.returncode != 0
    assert "no-such-package-of-sagegen" in failed.stderr


def make(repository: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", *arguments, f"IMAGE={IMAGE}"]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True)


def test_a_stale_image_is_refused_in_one_line_that_names_what_changed(
    repository: Path, tmp_path: Path
) -> None:
    assert build(repository).returncode == 0
    assert make(repository, "metrics").returncode == 0
    (tmp_path / ".tools").touch()
    (repository / "local_test/opt_ml/model").mkdir(exist_ok=True)
    wanted = {
        "model.py": ["train", "serve", "record", "test", "check", "metrics"],
        "more.py": ["train"],
        "apt.txt": ["train"],
        "requirements.txt": ["train"],
        "requirements/more.txt": ["train"],
    }
    for name, targets in wanted.items():
        file = repository / ("src" if name.endswith(".py") else "") / name
        before = file.read_bytes() if file.exists() else None
        file.parent.mkdir(exist_ok=True)
        file.write_bytes((before or b"") + b"# changed\n")
        for target in targets:
            refused = make(repository, target, f"VENV={tmp_path}", "SAGEGEN=false")
            assert refused.returncode != 0
            assert f"{IMAGE} was built before {name} changed; run make build." in refused.stderr.splitlines()
        file.write_bytes(before) if before is not None else file.unlink()


def wheel(name: str) -> bytes:
    """A wheel of version 1.0 with one module, as a package index of your own would serve it."""
    out = io.BytesIO()
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(f"{name}.py", "HERE = True\n")
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        tag = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        archive.writestr(f"{info}/WHEEL", tag)
        record = "".join(f"{entry},,\n" for entry in (f"{name}.py", f"{info}/METADATA", f"{info}/WHEEL"))
        archive.writestr(f"{info}/RECORD", f"{record}{info}/RECORD,,\n")
    return out.getvalue()


@contextmanager
def edited(repository: Path, **texts: str) -> Iterator[None]:
    """The repository with lines added to some of its files, until the block ends."""
    names = {"requirements": "requirements.txt", "apt": "apt.txt", "model": "src/model.py"}
    originals = {names[key]: (repository / names[key]).read_text() for key in texts}
    for key, text in texts.items():
        (repository / names[key]).write_text(originals[names[key]] + text)
    try:
        yield
    finally:
        for name, text in originals.items():
            (repository / name).write_text(text)


def in_image(program: str) -> str:
    run = ["docker", "run", "--rm", "--entrypoint", "python", IMAGE, "-c", program]
    return subprocess.run(run, check=True, capture_output=True, text=True).stdout.strip()


def test_a_missing_system_library_fails_the_build_and_apt_txt_brings_it(small: Path) -> None:
    needs = {"requirements": "lightgbm==4.6.0\n"}  # model.py may import it in train() alone
    with edited(small, **needs):
        failed = build(small)
    assert failed.returncode != 0
    assert "libgomp.so.1" in failed.stderr
    assert "add Python packages to requirements.txt, Debian's to apt.txt" in failed.stderr
    with edited(small, apt="libgomp1  # LightGBM computes with it\n", **needs):
        built = build(small)
    assert built.returncode == 0, built.stderr[-2000:]


def test_wheels_constraints_and_lists_of_the_requirements_folder_are_installed(small: Path) -> None:
    folder = small / "requirements"
    folder.mkdir()
    (folder / "ourwheel-1.0-py3-none-any.whl").write_bytes(wheel("ourwheel"))
    (folder / "more.txt").write_text("idna\n")
    (folder / "constraints.txt").write_text("idna==3.10\n")
    lines = [
        "./requirements/ourwheel-1.0-py3-none-any.whl",
        "-r requirements/more.txt",
        "-c requirements/constraints.txt",
    ]
    with edited(small, requirements="\n".join(lines) + "\n"):
        built = build(small)
    assert built.returncode == 0, built.stderr[-2000:]
    program = "import ourwheel; from importlib.metadata import version; print(version('idna'))"
    assert in_image(program) == "3.10"


class PrivateIndex(http.server.BaseHTTPRequestHandler):
    """A package index with one package, for one user."""

    def __init__(self, *arguments: object, password: str, **options: object) -> None:
        self._wanted = "Basic " + base64.b64encode(f"robot:{password}".encode()).decode()
        super().__init__(*arguments, **options)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        file = "ourpackage-1.0-py3-none-any.whl"
        pages = {
            "/simple/ourpackage/": f'<a href="/{file}">{file}</a>'.encode(),
            f"/{file}": wheel("ourpackage"),
        }
        body = pages.get(self.path)
        allowed = self.headers["Authorization"] == self._wanted
        self.send_response(401 if not allowed else 404 if body is None else 200)
        if not allowed:
            self.send_header("WWW-Authenticate", "Basic")
        self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/zip")
        self.send_header("Content-Length", str(len(body or b"") if allowed else 0))
        self.end_headers()
        if allowed and self.command == "GET":
            self.wfile.write(body or b"")

    do_HEAD = do_GET

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.mark.parametrize("way", ["netrc", "url"])
def test_the_password_of_a_package_index_is_nowhere_in_the_image(
    small: Path, tmp_path: Path, way: str
) -> None:
    password = f"hunter2-{way}"
    handler = functools.partial(PrivateIndex, password=password)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as index:
        threading.Thread(target=index.serve_forever, daemon=True).start()
        netrc = tmp_path / "netrc"
        netrc.write_text(f"machine 127.0.0.1 login robot password {password}\n")
        user = f"robot:{password}@" if way == "url" else ""
        url = f"http://{user}127.0.0.1:{index.server_port}/simple"
        secret = f"--secret id=netrc,src={netrc}" if way == "netrc" else ""
        with edited(small, requirements="ourpackage==1.0\n"):
            built = build(small, f"--network host --build-arg PIP_EXTRA_INDEX_URL={url} {secret}")
        index.shutdown()
    assert built.returncode == 0, built.stderr[-2000:]
    assert in_image("import ourpackage; print(ourpackage.HERE)") == "True"
    history = subprocess.check_output(["docker", "history", "--no-trunc", IMAGE])
    found = [password.encode() in history, password in json.dumps(inspect())]
    exported = subprocess.check_output(["docker", "save", IMAGE])
    assert not any(found)
    assert password.encode() not in exported


def test_a_company_s_certificate_in_the_base_image_is_trusted_in_every_stage(
    small: Path, tmp_path: Path
) -> None:
    """The README's recipe. The index is asked by pip in the first stage, and by uv in all others."""
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    issued = ["-CA", "company.crt", "-CAkey", "company.pem", "-addext", "basicConstraints=critical,CA:FALSE"]
    for command in (
        [*new, "-subj", "/CN=company", "-keyout", "company.pem", "-out", "company.crt"],
        [*new, "-subj", "/CN=index", *issued, "-addext", "subjectAltName=DNS:localhost",
         "-keyout", "index.pem", "-out", "index.crt"],
    ):  # fmt: skip
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "Dockerfile").write_text(
        f"FROM {BASE_IMAGE}\nCOPY company.crt /usr/local/share/ca-certificates/\nRUN update-ca-certificates\n"
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "index.crt", tmp_path / "index.pem")
    base = f"{IMAGE}-base"
    subprocess.run(["docker", "build", "--quiet", "--tag", base, tmp_path], check=True, capture_output=True)
    handler = functools.partial(PrivateIndex, password="hunter2")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as index:
        index.socket = context.wrap_socket(index.socket, server_side=True)
        threading.Thread(target=index.serve_forever, daemon=True).start()
        url = f"https://robot:hunter2@localhost:{index.server_port}/simple"
        options = f"--network host --build-arg PIP_EXTRA_INDEX_URL={url}"
        with edited(small, requirements="ourpackage==1.0\n"):
            trusted = build(small, options, base=base)
        index.shutdown()
    subprocess.run(["docker", "rmi", "--force", base], check=False, capture_output=True)
    assert trusted.returncode == 0, trusted.stderr[-2000:]
    assert in_image("import ourpackage; print(ourpackage.HERE)") == "True"


def inspect() -> object:
    return json.loads(subprocess.check_output(["docker", "image", "inspect", IMAGE]))
