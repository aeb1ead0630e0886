"""`deploy`: an endpoint that serves the new model, or goes on serving the old one."""

import shlex
import subprocess
from argparse import Namespace
from typing import Any

from deploy import alarms, invoke, scale
from deploy.calls import Aws
from deploy.logs import tail
from deploy.settings import ROOT, Refusal
from deploy.train import name_of


def run(aws: Aws, args: Namespace) -> str:
    """Create or update the endpoint, ask it the sample requests, and go back if anything is wrong."""
    name, mode = aws.settings["name"], aws.settings["hosting"]["mode"]
    container, model = model_of(aws)
    config, variants = config_of(aws, model)
    alarming = alarms.requests(aws)
    _check(aws, container, config, variants, alarming)
    found = aws.settled_endpoint()
    if found and f"endpoint {name}" not in aws.ledger.entries:
        raise Refusal(
            f"an endpoint {name} exists, and is not from here – change name in deploy/settings.toml"
        )
    history: list[str] = aws.ledger.facts.get("history", [])
    if history[-1:] == [config] and serves(found, config):
        return f"nothing to do: {name} serves {model}"
    if found and found["EndpointStatus"] == "Failed":
        remove(aws)
        found = None
    create_model(aws, container, model)
    if mode == "batch":
        return f"the model {model} is there: 'make transform' uses it"
    variant = variants["ProductionVariants"][0]
    if not found or found["EndpointConfigName"] != config:
        if "InstanceType" in variant:
            aws.confirm(variant["InstanceType"], variant["InitialInstanceCount"], f"The endpoint {name}")
        if not aws.ask("sagemaker", "describe_endpoint_config", EndpointConfigName=config):
            aws.change("sagemaker", "create_endpoint_config", EndpointConfigName=config, **variants)
        alarms.put(aws, alarming)
        if found:
            switch(aws, config)
        else:
            _create(aws, config)
    return _prove(aws, config, model, history)


def serves(found: Any, config: str) -> bool:
    """Whether the endpoint is in service with this configuration: a rollback of SageMaker's is not."""
    return bool(found) and [found["EndpointStatus"], found["EndpointConfigName"]] == ["InService", config]


def model_of(aws: Aws) -> tuple[dict[str, Any], str]:
    """The container of the model, and the model's name."""
    artifact = aws.settings["data"]["artifact"]
    if not artifact.startswith("s3://"):
        artifact = aws.fact("artifact", "train-job", "s3://unknown/model.tar.gz")
    container: dict[str, Any] = {
        "Image": aws.fact("image", "upload"),
        "ModelDataUrl": artifact,
        "Environment": {"HOSTING_MODE": aws.settings["hosting"]["mode"]},
    }
    model = name_of(aws, container)
    container["Environment"]["MODEL_VERSION"] = model
    return container, model


def create_model(aws: Aws, container: dict[str, Any], model: str) -> None:
    if not aws.ask("sagemaker", "describe_model", ModelName=model):
        request = {"ModelName": model, "ExecutionRoleArn": aws.role, "PrimaryContainer": container}
        aws.change("sagemaker", "create_model", **request)


def config_of(aws: Aws, model: str) -> tuple[str, dict[str, Any]]:
    """The endpoint configuration's name and content."""
    hosting = aws.settings["hosting"]
    variant: dict[str, Any] = {"VariantName": "main", "ModelName": model}
    request: dict[str, Any] = {"ProductionVariants": [variant]}
    if hosting["mode"] == "serverless":
        memory, concurrency = hosting["memory_mb"], hosting["max_concurrency"]
        variant["ServerlessConfig"] = {"MemorySizeInMB": memory, "MaxConcurrency": concurrency}
    else:
        variant["InstanceType"] = hosting["instance_type"]
        variant["InitialInstanceCount"] = hosting["instance_count"]
        variant["ContainerStartupHealthCheckTimeoutInSeconds"] = hosting["startup_seconds"]
    if hosting["mode"] == "async":
        output: dict[str, Any] = {"S3OutputPath": aws.own_prefix("async/output/")}
        output["S3FailurePath"] = aws.own_prefix("async/failed/")
        if topic := hosting["sns_topic"]:
            output["NotificationConfig"] = {"SuccessTopic": topic, "ErrorTopic": topic}
        request["AsyncInferenceConfig"] = {"OutputConfig": output}
    if hosting["capture_percent"]:
        request["DataCaptureConfig"] = {
            "EnableCapture": True,
            "InitialSamplingPercentage": hosting["capture_percent"],
            "DestinationS3Uri": aws.own_prefix("captured/"),
            "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        }
    return name_of(aws, request), request


def switch(aws: Aws, config: str) -> Any:
    """Update the endpoint to a configuration; the endpoint afterwards. It serves all the while."""
    name, hosting = aws.settings["name"], aws.settings["hosting"]
    strategy, seconds = hosting["strategy"], hosting["step_seconds"]
    more: dict[str, Any] = {}
    if scale.is_on(aws):
        before, after = (_instance(aws, one) for one in (aws.endpoint()["EndpointConfigName"], config))
        if before and after and before != after:
            scale.stop(aws)  # AWS changes no instance type of a variant that scales
        elif hosting["mode"] == "realtime":  # as many instances as the load has brought
            more["RetainAllVariantProperties"] = True
            more["ExcludeRetainedVariantProperties"] = [{"VariantPropertyType": "DataCaptureConfig"}]
    if strategy != "all_at_once":
        routing: dict[str, Any] = {"Type": strategy.upper(), "WaitIntervalInSeconds": seconds}
        step = "CanarySize" if strategy == "canary" else "LinearStepSize"
        routing[step] = {"Type": "CAPACITY_PERCENT", "Value": 10 if strategy == "canary" else 25}
        more["DeploymentConfig"] = {
            "BlueGreenUpdatePolicy": {
                "TrafficRoutingConfiguration": routing,
                "TerminationWaitInSeconds": seconds,
            },
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": alarm} for alarm in alarms.requests(aws)]},
        }
    aws.change("sagemaker", "update_endpoint", EndpointName=name, EndpointConfigName=config, **more)
    return aws.settled_endpoint()


def _instance(aws: Aws, config: str) -> Any:
    found = aws.ask("sagemaker", "describe_endpoint_config", EndpointConfigName=config)
    return found and found["ProductionVariants"][0].get("InstanceType")


def remove(aws: Aws) -> None:
    """Delete the endpoint and wait until it is gone."""
    name = aws.settings["name"]
    if scale.is_on(aws):
        scale.stop(aws)
    aws.change("sagemaker", "delete_endpoint", EndpointName=name)
    aws.settled_endpoint()
    aws.ledger.forget(f"endpoint {name}")


def _check(aws: Aws, container: Any, config: str, variants: Any, alarming: dict[str, Any]) -> None:
    """Judge every request before the first is sent."""
    model = {"ModelName": config, "ExecutionRoleArn": aws.role, "PrimaryContainer": container}
    variants = {"EndpointConfigName": config, **variants}
    planned = [("sagemaker", "create_model", model), ("sagemaker", "create_endpoint_config", variants)]
    planned += [("cloudwatch", "put_metric_alarm", request) for request in alarming.values()]
    for service, operation, request in planned:
        aws.check(service, operation, aws.complete(service, operation, request))


def _create(aws: Aws, config: str) -> None:
    name = aws.settings["name"]
    group = f"/aws/sagemaker/Endpoints/{name}"
    aws.ledger.begin(f"log group {group}", "logs", "delete_log_group", {"logGroupName": group})
    aws.change("sagemaker", "create_endpoint", EndpointName=name, EndpointConfigName=config)
    aws.settled_endpoint()


def _prove(aws: Aws, config: str, model: str, history: list[str]) -> str:
    """Compare what the endpoint is and answers with what it should; otherwise restore what served before."""
    name = aws.settings["name"]
    if aws.dry_run:
        return f"{name} would serve {model}"
    found = aws.endpoint()
    wrong = _wrong(aws, found, config) or invoke.wrong_answers(aws, model)
    if not wrong:
        scale.restore(aws)
        aws.ledger.note(history=[*(one for one in history if one != config), config])
        return f"deployed: {name} serves {model}, and answers the sample requests as expected"
    for line in tail(aws, f"/aws/sagemaker/Endpoints/{name}", "", 10):
        print(f"  {line}")
    if "ping health check" in wrong:
        _try_here(aws.fact("image", "upload"))
    if not found:
        raise Refusal(f"the endpoint {name} is gone – 'make deploy' makes it anew")
    if not history or found["EndpointStatus"] == "Failed":  # AWS updates none that failed
        remove(aws)
        raise Refusal(f"{wrong} – the endpoint is deleted; its log stays until 'make down'")
    if not serves(found, history[-1]):
        found = switch(aws, history[-1])
    if not serves(found, history[-1]):
        raise Refusal(f"{wrong} – and going back failed: {(found or {}).get('FailureReason', 'it is gone')}")
    scale.restore(aws)
    raise Refusal(f"{wrong} – rolled back: {name} serves {history[-1]} as before")


def _try_here(image: str) -> None:
    """Try the usual reasons why /ping fails: it answers late, never, or before the model is loaded."""
    command = ["sagegen", "check", image, "--opt-ml", str(ROOT / "local_test/opt_ml")]
    command += [word for rule in ("S-12", "S-13", "S-14") for word in ("--rule", rule)]
    print(f"The usual reasons, tried here: {shlex.join(command)}")
    try:
        subprocess.run(command, cwd=ROOT, stderr=subprocess.STDOUT)
    except FileNotFoundError:
        print("  not tried: sagegen is not installed ('pipx install sagegen', then run this line)")


def _wrong(aws: Aws, found: Any, config: str) -> str:
    """What is wrong with the endpoint's own account of itself."""
    if not serves(found, config):
        return f"the new model did not start: {(found or {}).get('FailureReason', 'see its log')}"
    digest = aws.fact("image", "upload").partition("@")[2]
    for variant in found["ProductionVariants"]:
        for one in variant.get("DeployedImages", ()):
            if digest not in (image := one.get("ResolvedImage", one["SpecifiedImage"])):
                return f"the endpoint runs {image}, not {digest}"
    return ""
