"""What goes wrong with containers and processes has its bounds and its words, and the emulator goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from emulators import CODE, ENDED, Emulator, left, prepared, request, role, wait, zipped
from small import BUILDS, FUNCTIONS, LINES, PROCESSES

SMALL = [sys.executable, str(Path(__file__).with_name("small.py"))]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An emulator with small limits. Ctrl-C ends it while a job trains, and nothing is left of either."""
    log = tmp_path_factory.mktemp("small") / "calls.json"
    with log.open("w") as calls:
        process = subprocess.Popen(
            [*SMALL, "local", "--json"], stdout=subprocess.PIPE, stderr=calls, text=True
        )
    found = prepared(Emulator(process, log))
    yield found
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def job(small: Emulator, image: str, then: str) -> dict[str, Any]:
    """A training job that has ended."""
    sagemaker = small.client("sagemaker")
    sagemaker.create_training_job(**request(image, then, HyperParameters={"then": then}))

    def ended() -> Any:
        found = sagemaker.describe_training_job(TrainingJobName=then)
        return found if found["TrainingJobStatus"] in ENDED else None

    found: dict[str, Any] = wait(ended)
    return found


def endpoint(small: Emulator, image: str, name: str, **environment: str) -> dict[str, Any]:
    """An endpoint that does not change any more."""
    sagemaker = small.client("sagemaker")
    sagemaker.create_model(ModelName=name, PrimaryContainer={"Image": image, "Environment": environment})
    variant = {
        "VariantName": "all",
        "ModelName": name,
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)

    def steady() -> Any:
        found = sagemaker.describe_endpoint(EndpointName=name)
        return found if found["EndpointStatus"] in ("InService", "Failed") else None

    found: dict[str, Any] = wait(steady)
    return found


def test_a_job_that_forks_without_end_reaches_the_limit_of_processes(small: Emulator, image: str) -> None:
    found = job(small, image, "fork")
    told = int(found["FailureReason"].removeprefix("AlgorithmError: forks: ").partition(",")[0])
    assert PROCESSES // 2 < told < PROCESSES


def test_a_log_that_is_flooded_is_cut_and_says_so(small: Emulator, image: str) -> None:
    assert job(small, image, "flood")["TrainingJobStatus"] == "Completed"
    lines = small.logged("/aws/sagemaker/TrainingJobs", "flood/")
    assert len(lines) == LINES + 1
    assert lines[-1].startswith(f"sagegen local keeps {LINES} lines")


def test_a_job_whose_files_find_no_place_fails_with_the_cause(small: Emulator, image: str) -> None:
    reason = job(small, image, "large")["FailureReason"]
    assert reason.startswith(
        "InternalServerError: sagegen local has no place for the job's files: [Errno 27]"
    )
    assert job(small, image, "end")["TrainingJobStatus"] == "Completed"


def test_an_image_that_never_answers_a_ping_fails_its_endpoint(small: Emulator, image: str) -> None:
    found = endpoint(small, image, "silent", PING="silent")
    assert found["EndpointStatus"] == "Failed"
    assert "did not pass the ping health check" in found["FailureReason"]


def test_a_killed_container_is_replaced_and_one_that_hangs_is_told(small: Emulator, image: str) -> None:
    assert endpoint(small, image, "killed")["EndpointStatus"] == "InService"
    runtime = small.client("sagemaker-runtime")

    def ask(body: str) -> str:
        return str(runtime.invoke_endpoint(EndpointName="killed", Body=body)["Body"].read().decode())

    with pytest.raises(ClientError, match="invocation timed out while waiting for a response"):
        ask("sleep 60")
    before = json.loads(ask("who"))
    mine = ["docker", "ps", "--quiet", "--filter", f"label=sagegen.check.pid={small.process.pid}"]
    (server,) = subprocess.check_output(mine, text=True).split()
    subprocess.run(["docker", "kill", "--signal", "KILL", server], check=True, capture_output=True)

    def again() -> Any:
        try:
            return json.loads(ask("who"))
        except ClientError:
            return None

    assert wait(again)["pid"] != before["pid"]


@pytest.fixture(scope="module")
def functions(small: Emulator) -> Any:
    arn, found = role(small, "function", "lambda.amazonaws.com", "logs:*"), small.client("lambda")
    for name, handler in (("f", "handler"), ("g", "handler"), ("proxy", "proxy")):
        found.create_function(
            FunctionName=name, Runtime="python3.13", Handler=f"index.{handler}", Role=arn, Timeout=20,
            Code={"ZipFile": zipped(CODE)},
        )  # fmt: skip
    return found


def call(functions: Any, name: str, **event: Any) -> Any:
    return json.loads(functions.invoke(FunctionName=name, Payload=json.dumps(event))["Payload"].read())


def running(word: str, parent: int | None = None) -> int:
    """Processes of this machine with a word in their command line, of any parent or of one."""
    found = 0
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            of = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            found += word in (folder / "cmdline").read_text() and parent in (None, of)
    return found


def test_a_function_that_forks_without_end_is_ended_with_what_it_started(
    small: Emulator, functions: Any
) -> None:
    seconds = f"6000.{os.getpid()}"
    found = call(functions, "f", what="fork", seconds=seconds)
    assert found["errorType"] == "Runtime.ExitError"
    wait(lambda: running(seconds) == 0)
    words = f"sagegen local ended it: it had more than {PROCESSES} processes"
    wait(lambda: words in small.logged("/aws/lambda/f"))


def test_idle_functions_give_way_and_calls_beyond_the_limit_are_throttled(
    small: Emulator, functions: Any
) -> None:
    def calls(name: str, number: int) -> list[Any]:
        with ThreadPoolExecutor(number) as pool:
            asked = [pool.submit(call, functions, name, what="sleep", seconds=2) for _ in range(number)]
            return [one.exception() for one in asked]

    (throttled,) = [error for error in calls("f", FUNCTIONS + 1) if error]
    assert "Rate Exceeded" in str(throttled)
    assert calls("g", 2) == [None, None]
    assert running("bootstrap.py", small.process.pid) == FUNCTIONS


def test_builds_beyond_the_limit_are_refused(small: Emulator) -> None:
    builds = small.client("codebuild")
    spec = "{version: 0.2, phases: {build: {commands: ['sleep 60']}}}"
    builds.create_project(
        name="long", serviceRole=role(small, "builder", "codebuild.amazonaws.com", "logs:*"),
        source={"type": "NO_SOURCE", "buildspec": spec}, artifacts={"type": "NO_ARTIFACTS"},
        environment={"type": "LINUX_CONTAINER", "image": "x", "computeType": "BUILD_GENERAL1_SMALL"},
    )  # fmt: skip
    ids = [builds.start_build(projectName="long")["build"]["id"] for _ in range(BUILDS)]
    phases = [one["phases"] for one in builds.batch_get_builds(ids=ids)["builds"] if one["buildComplete"]]
    assert phases == []
    with pytest.raises(ClientError, match=f"Cannot have more than {BUILDS} builds in queue"):
        builds.start_build(projectName="long")
    for identity in ids:
        builds.stop_build(id=identity)
    wait(lambda: all(one["buildComplete"] for one in builds.batch_get_builds(ids=ids)["builds"]))


def test_an_api_gives_up_after_its_time_and_the_function_goes_on(small: Emulator, functions: Any) -> None:
    apis = small.client("apigateway")
    made = apis.create_rest_api(name="api")
    slow = apis.create_resource(restApiId=made["id"], parentId=made["rootResourceId"], pathPart="slow")
    where = {"restApiId": made["id"], "resourceId": slow["id"], "httpMethod": "GET"}
    arn = functions.get_function(FunctionName="proxy")["Configuration"]["FunctionArn"]
    apis.put_method(authorizationType="NONE", **where)
    apis.put_integration(
        type="AWS_PROXY", integrationHttpMethod="POST", **where,
        uri=f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{arn}/invocations",
    )  # fmt: skip
    apis.create_deployment(restApiId=made["id"], stageName="v1")
    functions.add_permission(
        FunctionName="proxy", StatementId="api", Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com",
    )  # fmt: skip
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{small.exports['AWS_ENDPOINT_URL']}/_aws/execute-api/{made['id']}/v1/slow")
    assert refused.value.code == 504
    assert json.loads(refused.value.read()) == {"message": "Endpoint request timed out"}
    wait(lambda: "slow is done" in small.logged("/aws/lambda/proxy"))


def test_ctrl_c_while_a_job_trains_leaves_nothing(small: Emulator, image: str) -> None:
    sagemaker = small.client("sagemaker")
    sagemaker.create_training_job(**request(image, "interrupted", HyperParameters={"then": "wait"}))
    status = lambda: sagemaker.describe_training_job(TrainingJobName="interrupted")["SecondaryStatus"]  # noqa: E731
    wait(lambda: status() == "Training")
    small.process.send_signal(signal.SIGINT)
    assert small.process.wait(60) == 130
    assert left(small.process.pid) == ""
    assert "Traceback" not in small.log.read_text()
