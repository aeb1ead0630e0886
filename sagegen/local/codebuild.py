"""CodeBuild: a buildspec's commands really run, as processes of this machine with the project's role."""

from __future__ import annotations

import io
import os
import shlex
import stat
import threading
import uuid
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from botocore.exceptions import ClientError

from sagegen.local.cloud import ACCOUNT, Cloud, now
from sagegen.local.identities import assume
from sagegen.local.logs import LogStream
from sagegen.local.processes import Process, Processes, base
from sagegen.local.wire import Fault, Handler, not_emulated

PHASES = ("install", "pre_build", "build", "post_build")
OF_SPEC = {"version", "env", "phases", "artifacts", "cache"}
OF_ENV = {"shell", "variables", "exported-variables", "git-credential-helper"}
OF_PHASE = {"commands", "finally", "on-failure", "runtime-versions"}
OVERRIDES = {"projectName", "environmentVariablesOverride", "buildspecOverride", "sourceTypeOverride",
             "sourceLocationOverride", "timeoutInMinutesOverride", "privilegedModeOverride", "imageOverride",
             "idempotencyToken", "sourceVersion", "computeTypeOverride", "serviceRoleOverride"}  # fmt: skip
REFUSED = ("secondarySources", "secondaryArtifacts", "buildBatchConfig", "fileSystemLocations", "fleet")
NO_DOCKER = "unix:///var/run/no-docker.sock"
SOURCE_BYTES = 2**31
ENDED = "COMPLETED"
BUILDS = 8  # at once; a new account has fewer on AWS


class Project:
    """A project's record, and how many builds it had."""

    def __init__(self, record: dict[str, Any]) -> None:
        self.record = record
        self.builds: list[str] = []


class Build:
    """One build."""

    def __init__(self, cloud: Cloud, processes: Processes, project: Mapping[str, Any], number: int) -> None:
        self.cloud, self.processes = cloud, processes
        mark = uuid.uuid4()
        identity = f"{project['name']}:{mark}"
        arn = f"arn:aws:codebuild:{cloud.region}:{ACCOUNT}:build/{identity}"
        logs = project.get("logsConfig", {}).get("cloudWatchLogs", {})
        group = logs.get("groupName", f"/aws/codebuild/{project['name']}")
        stream = f"{logs['streamName']}/{mark}" if "streamName" in logs else str(mark)
        self.record: dict[str, Any] = {
            "id": identity,
            "arn": arn,
            "buildNumber": number,
            "startTime": now(),
            "currentPhase": "SUBMITTED",
            "buildStatus": "IN_PROGRESS",
            "projectName": project["name"],
            "phases": [],
            "source": dict(project["source"]),
            "artifacts": {"location": ""},
            "environment": dict(project["environment"]),
            "serviceRole": project["serviceRole"],
            "timeoutInMinutes": project["timeoutInMinutes"],
            "queuedTimeoutInMinutes": project["queuedTimeoutInMinutes"],
            "buildComplete": False,
            "initiator": "sagegen-local",
            "encryptionKey": project["encryptionKey"],
            "exportedEnvironmentVariables": [],
            "logs": {"groupName": group, "streamName": stream},
        }
        self._shell: Shell | None = None
        self._log: LogStream | None = None
        self._stopped = threading.Event()

    # --- its course -------------------------------------------------------------------------------------

    def run(self) -> None:
        """All phases; whatever happens, it ends with a status."""
        record = self.record
        try:
            self._run()
        except Exception as error:
            record["buildStatus"] = "FAULT"
            context = {"statusCode": "FAULT", "message": f"a defect of sagegen local: {error!r}"}
            record["phases"].append(
                {"phaseType": "FINALIZING", "phaseStatus": "FAULT", "contexts": [context]}
            )
        if self._stopped.is_set():
            record["buildStatus"] = "STOPPED"
        elif record["buildStatus"] == "IN_PROGRESS":
            failed = any(one.get("phaseStatus") == "FAILED" for one in record["phases"])
            record["buildStatus"] = "FAILED" if failed else "SUCCEEDED"
        if self._log:
            self._log.close()
        record["phases"].append({"phaseType": ENDED, "startTime": now()})
        record.update(endTime=now(), currentPhase=ENDED, buildComplete=True)

    def _run(self) -> None:
        record = self.record
        for kind in ("SUBMITTED", "QUEUED"):
            self._phase(kind, lambda: None)
        if not self._phase("PROVISIONING", self._provision):
            return
        with self.processes.scratch() as folder:
            source, home = folder / "src", folder / "home"
            source.mkdir()
            home.mkdir()
            spec: dict[str, Any] = {}
            if not self._phase("DOWNLOAD_SOURCE", lambda: self._download(source, spec)):
                return
            assert self._log
            self._shell = Shell(
                self.processes, self._log, source, self._environment(source, home, spec), spec
            )
            limit = threading.Timer(60 * record["timeoutInMinutes"], self._time_out)
            limit.daemon = True
            limit.start()
            try:
                self._commands(spec)
                if self._shell.running:
                    for name in spec.get("env", {}).get("exported-variables", ()):
                        value = self._shell.value(name)
                        record["exportedEnvironmentVariables"].append({"name": name, "value": value})
            finally:
                limit.cancel()
                self._shell.close()
            self._phase("UPLOAD_ARTIFACTS", lambda: None)
            self._phase("FINALIZING", lambda: None)

    def _phase(self, kind: str, work: Callable[[], tuple[str, str] | None]) -> bool:
        """One phase; whether it succeeded. `work` gives (status code, message) of a failure."""
        begun = now()
        entry: dict[str, Any] = {"phaseType": kind, "startTime": begun}
        self.record["phases"].append(entry)
        self.record["currentPhase"] = kind
        failure = work()
        ended = now()
        contexts = [{"statusCode": failure[0], "message": failure[1]}] if failure else []
        status = "FAILED" if failure else "SUCCEEDED"
        if self._stopped.is_set():
            status = "STOPPED"
        elif self.record["buildStatus"] == "TIMED_OUT":
            status = "TIMED_OUT"
        entry.update(
            endTime=ended,
            durationInSeconds=int((ended - begun).total_seconds()),
            phaseStatus=status,
            contexts=contexts,
        )
        return failure is None and status == "SUCCEEDED"

    def _provision(self) -> tuple[str, str] | None:
        """Its log, which AWS insists on."""
        told, role = self.record["logs"], self.record["serviceRole"]
        client = self.cloud.client("logs", role)
        try:
            with suppress(client.exceptions.ResourceAlreadyExistsException):
                client.create_log_group(logGroupName=told["groupName"])
            client.create_log_stream(logGroupName=told["groupName"], logStreamName=told["streamName"])
        except ClientError as error:
            text = f"Service role {role} does not allow AWS CodeBuild to create CloudWatch Logs log streams"
            self._log = LogStream(self.cloud, told["groupName"], told["streamName"], role)
            return "ACCESS_DENIED", f"{text}. Error message: {error.response['Error']['Message']}"
        self._log = LogStream(self.cloud, told["groupName"], told["streamName"], role)
        self.cloud.begin(self._log.send_often)
        return None

    def _download(self, source: Path, spec: dict[str, Any]) -> tuple[str, str] | None:
        told = self.record["source"]
        if told["type"] == "S3":
            bucket, _, key = told["location"].removeprefix("arn:aws:s3:::").partition("/")
            try:
                client = self.cloud.client("s3", self.record["serviceRole"])
                content = client.get_object(Bucket=bucket, Key=key)["Body"].read()
            except ClientError as error:
                return (
                    "CLIENT_ERROR",
                    f"{error.response['Error']['Message']} for primary source ({told['location']})",
                )
            try:
                unpack(content, source)
            except (zipfile.BadZipFile, ValueError, OSError) as error:
                return "CLIENT_ERROR", f"the source at {told['location']} is not a usable zip: {error}"
        text = told.get("buildspec") or "buildspec.yml"
        if "\n" not in text:
            file = source / text
            if not file.is_file():
                return "YAML_FILE_ERROR", "YAML file does not exist"
            text = file.read_text(encoding="utf-8", errors="replace")
        try:
            found = yaml.safe_load(text)
        except yaml.YAMLError as error:
            return "YAML_FILE_ERROR", str(error).replace("\n", " ")
        if trouble := wrong_spec(found):
            return "YAML_FILE_ERROR", trouble
        spec.update(found)
        return None

    def _environment(self, source: Path, home: Path, spec: Mapping[str, Any]) -> dict[str, str]:
        record = self.record
        own = {one["name"]: one["value"] for one in record["environment"].get("environmentVariables", ())}
        told = {
            "CI": "true",
            "CODEBUILD_BUILD_ARN": record["arn"],
            "CODEBUILD_BUILD_ID": record["id"],
            "CODEBUILD_BUILD_IMAGE": record["environment"]["image"],
            "CODEBUILD_BUILD_NUMBER": str(record["buildNumber"]),
            "CODEBUILD_INITIATOR": record["initiator"],
            "CODEBUILD_LOG_PATH": record["logs"]["streamName"],
            "CODEBUILD_SOURCE_REPO_URL": record["source"].get("location", ""),
            "CODEBUILD_SOURCE_VERSION": record.get("sourceVersion", ""),
            "CODEBUILD_RESOLVED_SOURCE_VERSION": "",
            "CODEBUILD_SRC_DIR": str(source),
            "CODEBUILD_START_TIME": str(int(record["startTime"].timestamp() * 1000)),
        }
        written = {name: str(value) for name, value in (spec.get("env", {}).get("variables") or {}).items()}
        config = home / ".docker"
        config.mkdir()
        plugins = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / "cli-plugins"
        if plugins.is_dir():
            (config / "cli-plugins").symlink_to(plugins)
        # Without PrivilegedMode no engine can be reached, as on AWS.
        allowed = record["environment"].get("privilegedMode", False)
        docker = {"DOCKER_HOST": self.cloud.lab.host if allowed else NO_DOCKER, "DOCKER_CONFIG": str(config)}
        role = self.cloud.session(record["serviceRole"])
        return {**base(home), **docker, **self.cloud.environment, **role, **written, **told, **own}

    def _commands(self, spec: Mapping[str, Any]) -> None:
        assert self._shell
        succeeding = True
        for name in PHASES:
            part = spec["phases"].get(name)
            if part is None:
                continue
            self._shell.run(f"export CODEBUILD_BUILD_SUCCEEDING={int(succeeding)}", quiet=True)
            good = self._phase(name.upper(), partial(self._all, part))
            if not good and part.get("on-failure", "ABORT") == "CONTINUE" and self._shell.running:
                good = True
            succeeding = succeeding and good
            # After a failed build post_build runs; after an earlier failure nothing does.
            if not self._shell.running or (not good and name != "build"):
                return

    def _all(self, part: Mapping[str, Any]) -> tuple[str, str] | None:
        assert self._shell and self._log
        failure = None
        for command in map(_text, part.get("commands", ())):
            code = self._shell.run(command)
            if code:
                text = f"Error while executing command: {command}. Reason: exit status {code}"
                failure = "COMMAND_EXECUTION_ERROR", text
                self._log.lines.append(
                    f"[Container] {now():%Y/%m/%d %H:%M:%S} Command did not exit successfully {command} exit"
                    f" status {code}"
                )
                break
        for command in map(_text, part.get("finally", ())):
            if self._shell.running and self._shell.run(command) and failure is None:
                failure = "COMMAND_EXECUTION_ERROR", f"Error while executing command: {command}"
        return failure

    def _time_out(self) -> None:
        self.record["buildStatus"] = "TIMED_OUT"
        if self._shell:
            self._shell.close()

    def stop(self) -> None:
        """StopBuild."""
        if not self.record["buildComplete"]:
            self._stopped.set()
            if self._shell:
                self._shell.close()


class Shell:
    """The one shell that runs all commands of a build (buildspec 0.2)."""

    def __init__(
        self,
        processes: Processes,
        log: LogStream,
        folder: Path,
        environment: Mapping[str, str],
        spec: Mapping[str, Any],
    ) -> None:
        self._mark = f"__{uuid.uuid4().hex}"
        program = spec.get("env", {}).get("shell", "/bin/sh")
        self._processes, self._log = processes, log
        self._process: Process = processes.start([program], folder, environment)
        self._lines = self._process.lines

    @property
    def running(self) -> bool:
        """Whether it can take another command."""
        return self._process.running

    def run(self, command: str, *, quiet: bool = False) -> int:
        """Run one command; its exit status. What it prints is logged."""
        if not quiet:
            self._log.lines.append(f"[Container] {now():%Y/%m/%d %H:%M:%S} Running command {command}")
        return self._ask(command, self._log.add)

    def value(self, name: str) -> str:
        """The value of a variable."""
        lines: list[str] = []
        self._ask(f'printf "%s\\n" "${{{name}}}"', lines.append)
        return "\n".join(lines)

    def _ask(self, command: str, take: Callable[[str], None]) -> int:
        try:
            self._process.stdin.write(f"eval {shlex.quote(command)} </dev/null\necho {self._mark} $?\n")
            self._process.stdin.flush()
            for line in self._lines:
                head, found, code = line.partition(self._mark)
                if found:
                    if head:
                        take(head)
                    return int(code)
                take(line)
        except (OSError, ValueError):  # it was ended
            pass
        with suppress(Exception):
            return self._process.popen.wait(1) or 1
        return 1

    def close(self) -> None:
        """End it and what it started."""
        self._processes.end(self._process)


def _text(command: Any) -> str:
    """A command, also where YAML reads it as something else (true, false)."""
    return str(command).lower() if isinstance(command, bool) else str(command)


def wrong_spec(found: Any) -> str | None:
    """Why a buildspec cannot be run."""
    if not isinstance(found, dict) or not isinstance(found.get("phases"), dict):
        return "the buildspec has no phases"
    if str(found.get("version")) != "0.2":
        return f"not emulated: version {found.get('version')} of a buildspec, use 0.2"
    if odd := found.keys() - OF_SPEC:
        return f"not emulated: {sorted(odd)[0]} in a buildspec"
    if odd := (found.get("env") or {}).keys() - OF_ENV:
        return f"not emulated: env/{sorted(odd)[0]} in a buildspec"
    for name, part in found["phases"].items():
        if name not in PHASES:
            return f"{name} is no phase of a buildspec"
        if not isinstance(part, dict) or not isinstance(part.get("commands", []), list):
            return f"the phase {name} has no list of commands"
        if odd := part.keys() - OF_PHASE:
            return f"not emulated: phases/{name}/{sorted(odd)[0]} in a buildspec"
    return None


def unpack(content: bytes, folder: Path) -> None:
    """A zip's files, with their modes. Raises ValueError where one would lie elsewhere."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > SOURCE_BYTES:
            raise ValueError("it is larger than 2 GiB")
        for entry in archive.infolist():
            target = (folder / entry.filename).resolve()
            if not target.is_relative_to(folder.resolve()):
                raise ValueError(f"{entry.filename} lies outside of it")
            archive.extract(entry, folder)
            mode = entry.external_attr >> 16
            if stat.S_ISREG(mode):
                target.chmod(stat.S_IMODE(mode) | stat.S_IRUSR | stat.S_IWUSR)


class CodeBuild:
    """The operations on projects and builds."""

    def __init__(self, cloud: Cloud, processes: Processes) -> None:
        self.cloud, self.processes = cloud, processes
        self.projects: dict[str, Project] = {}
        self.builds: dict[str, Build] = {}
        self._tokens: dict[str, str] = {}
        self._lock = threading.Lock()
        self.handlers: dict[str, Handler] = {
            "CreateProject": self.create,
            "UpdateProject": self.update,
            "DeleteProject": self.delete,
            "BatchGetProjects": self.get,
            "ListProjects": lambda given: {"projects": sorted(self.projects)},
            "StartBuild": self.start,
            "StopBuild": self.stop,
            "BatchGetBuilds": self.get_builds,
            "ListBuilds": lambda given: {"ids": list(reversed(self.builds))},
            "ListBuildsForProject": self.of_project,
        }

    def _arn(self, name: str) -> str:
        return f"arn:aws:codebuild:{self.cloud.region}:{ACCOUNT}:project/{name}"

    def _judge(self, record: Mapping[str, Any]) -> None:
        for name in REFUSED:
            if record.get(name):
                raise not_emulated(f"{name} of a project")
        source, environment = record["source"], record["environment"]
        if source["type"] not in ("S3", "NO_SOURCE"):
            raise not_emulated(f"sources of type {source['type']}")
        if source["type"] == "S3" and "/" not in source.get("location", ""):
            raise refused("Invalid location: bucket/path/of.zip is expected")
        if source["type"] == "S3" and source["location"].endswith("/"):
            raise not_emulated("a folder as source: give a zip")
        if source["type"] == "NO_SOURCE" and not source.get("buildspec"):
            raise refused("Project source type NO_SOURCE requires a buildspec")
        if record["artifacts"]["type"] != "NO_ARTIFACTS":
            raise not_emulated(f"artifacts of type {record['artifacts']['type']}")
        if environment["type"] != "LINUX_CONTAINER":
            raise not_emulated(f"environments of type {environment['type']}")
        for one in environment.get("environmentVariables", ()):
            if one.get("type", "PLAINTEXT") != "PLAINTEXT":
                raise not_emulated(f"environment variables of type {one['type']}")
        if record.get("logsConfig", {}).get("s3Logs", {}).get("status") == "ENABLED":
            raise not_emulated("logs of builds in S3")
        try:
            assume(self.cloud, record["serviceRole"], "codebuild.amazonaws.com")
        except Fault as fault:
            text = f"CodeBuild is not authorized to perform: sts:AssumeRole on {record['serviceRole']}"
            raise refused(f"{text}. {fault.message}") from None

    def create(self, given: dict[str, Any]) -> dict[str, Any]:
        """CreateProject."""
        record = {
            "timeoutInMinutes": 60,
            "queuedTimeoutInMinutes": 480,
            "encryptionKey": f"arn:aws:kms:{self.cloud.region}:{ACCOUNT}:alias/aws/s3",
            **given,
            "arn": self._arn(given["name"]),
            "created": now(),
            "lastModified": now(),
        }
        self._judge(record)
        with self._lock:
            if given["name"] in self.projects:
                text = f"Project already exists: {record['arn']}"
                raise Fault("ResourceAlreadyExistsException", text)
            self.projects[given["name"]] = Project(record)
        return {"project": record}

    def _find(self, name: str) -> Project:
        name = name.removeprefix(self._arn(""))
        if name not in self.projects:
            raise Fault("ResourceNotFoundException", f"Project cannot be found: {self._arn(name)}")
        return self.projects[name]

    def update(self, given: dict[str, Any]) -> dict[str, Any]:
        """UpdateProject."""
        project = self._find(given["name"])
        record = {**project.record, **given, "lastModified": now()}
        self._judge(record)
        project.record = record
        return {"project": record}

    def delete(self, given: dict[str, Any]) -> None:
        """DeleteProject: of one that is not there it succeeds."""
        self.projects.pop(given["name"].removeprefix(self._arn("")), None)

    def get(self, given: dict[str, Any]) -> dict[str, Any]:
        """BatchGetProjects."""
        names = [name.removeprefix(self._arn("")) for name in given["names"]]
        return {
            "projects": [self.projects[name].record for name in names if name in self.projects],
            "projectsNotFound": [name for name in names if name not in self.projects],
        }

    def start(self, given: dict[str, Any]) -> dict[str, Any]:
        """StartBuild."""
        if odd := given.keys() - OVERRIDES:
            raise not_emulated(f"{sorted(odd)[0]} of StartBuild")
        project = self._find(given["projectName"])
        environment = dict(project.record["environment"])
        variables = {one["name"]: one for one in environment.get("environmentVariables", ())}
        variables |= {one["name"]: one for one in given.get("environmentVariablesOverride", ())}
        environment["environmentVariables"] = list(variables.values())
        source = dict(project.record["source"])
        for override, record, name in (
            ("sourceTypeOverride", source, "type"),
            ("sourceLocationOverride", source, "location"),
            ("buildspecOverride", source, "buildspec"),
            ("imageOverride", environment, "image"),
            ("computeTypeOverride", environment, "computeType"),
            ("privilegedModeOverride", environment, "privilegedMode"),
        ):
            if override in given:
                record[name] = given[override]
        wanted = {**project.record, "environment": environment, "source": source}
        for override, name in (
            ("timeoutInMinutesOverride", "timeoutInMinutes"),
            ("serviceRoleOverride", "serviceRole"),
        ):
            wanted[name] = given.get(override, wanted[name])
        self._judge(wanted)
        with self._lock:
            token = given.get("idempotencyToken")
            if token in self._tokens:
                return {"build": self.builds[self._tokens[token]].record}
            if sum(not one.record["buildComplete"] for one in self.builds.values()) >= BUILDS:
                text = f"Cannot have more than {BUILDS} builds in queue for the account"
                raise Fault("AccountLimitExceededException", text)
            build = Build(self.cloud, self.processes, wanted, len(project.builds) + 1)
            if "sourceVersion" in given:
                build.record["sourceVersion"] = given["sourceVersion"]
            self.builds[build.record["id"]] = build
            project.builds.append(build.record["id"])
            if token:
                self._tokens[token] = build.record["id"]
        answer = dict(build.record)
        self.cloud.begin(build.run)
        return {"build": answer}

    def _build(self, name: str) -> str:
        return name.removeprefix(self._arn("").replace(":project/", ":build/"))

    def stop(self, given: dict[str, Any]) -> dict[str, Any]:
        """StopBuild."""
        identity = self._build(given["id"])
        if identity not in self.builds:
            raise Fault("ResourceNotFoundException", f"Build cannot be found: {identity}")
        self.builds[identity].stop()
        return {"build": self.builds[identity].record}

    def get_builds(self, given: dict[str, Any]) -> dict[str, Any]:
        """BatchGetBuilds."""
        names = [self._build(name) for name in given["ids"]]
        return {
            "builds": [self.builds[name].record for name in names if name in self.builds],
            "buildsNotFound": [name for name in names if name not in self.builds],
        }

    def of_project(self, given: dict[str, Any]) -> dict[str, Any]:
        """ListBuildsForProject, newest first."""
        ids = list(self._find(given["projectName"]).builds)
        return {"ids": ids if given.get("sortOrder") == "ASCENDING" else ids[::-1]}


def refused(text: str) -> Fault:
    """What CodeBuild says of a wrong request."""
    return Fault("InvalidInputException", text)
