"""`deploy`: an endpoint that serves the new model, or goes on serving the old one."""

import json
from argparse import Namespace
from typing import Any

from deploy import alarms, invoke
from deploy.calls import Aws
from deploy.logs import tail
from deploy.settings import Refusal
from deploy.train import name_of


def run(aws: Aws, args: Namespace) -> str:
    """Create or update the endpoint, ask it the sample requests, and go back if anything is wrong."""
    name, mode = aws.settings["name"], aws.settings["hosting"]["mode"]
    container, model = model_of(aws)
    config, variants = config_of(aws, model)
    alarming = alarms.requests(aws)
    _check(aws, container, config, variants, alarming)
    found = aws.wait(f"endpoint {name}", lambda: endpoint(aws), "EndpointStatus") or endpoint(aws)
    if found and f"endpoint {name}" not in aws.ledger.entries:
        raise Refusal(f"an endpoint {name} exists, and not from here – use another name in deploy/settings.toml")
    history: list[str] = aws.ledger.facts.get("history", [])
    if found and found["EndpointStatus"] == "InService" and history[-1:] == [config] == [found["EndpointConfigName"]]:
        return f"nothing to do: {name} serves {model}"
    create_model(aws, container, model)
    if mode == "batch":
        return f"the model {model} is there: 'make transform' uses it"
    variant = variants["ProductionVariants"][0]
    if not found or found["EndpointConfigName"] != config:
        if "InstanceType" in variant:
            aws.confirm(variant["InstanceType"], variant["InitialInstanceCount"], f"The endpoint {name}")
        if not aws.ask("sagemaker", "describe_endpoint_config", EndpointConfigName=config):
            undo = ("delete_endpoint_config", {"EndpointConfigName": config})
            aws.change(f"endpoint configuration {config}", "sagemaker", "create_endpoint_config", undo,
                       EndpointConfigName=config, **variants)  # fmt: skip
        alarms.put(aws, alarming)
        if found and found["EndpointStatus"] == "Failed":
            remove(aws)
            found = None
        _start(aws, config, found)
    return _prove(aws, config, model, history)


def endpoint(aws: Aws) -> Any:
    return aws.ask("sagemaker", "describe_endpoint", EndpointName=aws.settings["name"])


def model_of(aws: Aws) -> tuple[dict[str, Any], str]:
    """The container of the model, and the model's name."""
    artifact = aws.settings["data"]["artifact"]
    artifact = artifact if artifact.startswith("s3://") else aws.fact("artifact", "train-job", "s3://unknown/model.tar.gz")
    container = {
        "Image": aws.fact("image", "upload"),
        "ModelDataUrl": artifact,
        "Environment": {"HOSTING_MODE": aws.settings["hosting"]["mode"]},
    }
    model = name_of(aws, container)
    container["Environment"] |= {"MODEL_VERSION": model}  # type: ignore[operator]
    return container, model


def create_model(aws: Aws, container: dict[str, Any], model: str) -> None:
    if not aws.ask("sagemaker", "describe_model", ModelName=model):
        undo = ("delete_model", {"ModelName": model})
        aws.change(f"model {model}", "sagemaker", "create_model", undo,
                   ModelName=model, ExecutionRoleArn=aws.role, PrimaryContainer=container)  # fmt: skip


def config_of(aws: Aws, model: str) -> tuple[str, dict[str, Any]]:
    """The endpoint configuration's name and content."""
    hosting, variant = aws.settings["hosting"], {"VariantName": "main", "ModelName": model}
    request: dict[str, Any] = {"ProductionVariants": [variant]}
    if hosting["mode"] == "serverless":
        serverless = {"MemorySizeInMB": hosting["memory_mb"], "MaxConcurrency": hosting["max_concurrency"]}
        variant |= {"ServerlessConfig": serverless}  # type: ignore[dict-item]
    else:
        variant |= {"InstanceType": hosting["instance_type"], "InitialInstanceCount": hosting["instance_count"]}
        variant |= {"ContainerStartupHealthCheckTimeoutInSeconds": hosting["startup_seconds"]}
    if hosting["mode"] == "async":
        output = {"S3OutputPath": aws.own_prefix("async/output/"), "S3FailurePath": aws.own_prefix("async/failed/")}
        topic = {"SuccessTopic": hosting["sns_topic"], "ErrorTopic": hosting["sns_topic"]}
        output |= {"NotificationConfig": topic} if hosting["sns_topic"] else {}  # type: ignore[dict-item]
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
    name, strategy = aws.settings["name"], aws.settings["hosting"]["strategy"]
    more: dict[str, Any] = {}
    if f"scaling of {name}" in aws.ledger.entries:
        more["RetainAllVariantProperties"] = True  # as many instances as the load has brought
    if strategy != "all_at_once":
        routing: dict[str, Any] = {"Type": strategy.upper(), "WaitIntervalInSeconds": 300}
        step = "CanarySize" if strategy == "canary" else "LinearStepSize"
        routing[step] = {"Type": "CAPACITY_PERCENT", "Value": 10 if strategy == "canary" else 25}
        more["DeploymentConfig"] = {
            "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": 120},
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": alarm} for alarm in alarms.requests(aws)]},
        }
    aws.change(f"endpoint {name}: to {config}", "sagemaker", "update_endpoint", None,
               EndpointName=name, EndpointConfigName=config, **more)  # fmt: skip
    return aws.wait(f"endpoint {name}", lambda: endpoint(aws), "EndpointStatus")


def remove(aws: Aws) -> None:
    """Delete the endpoint and wait until it is gone."""
    name = aws.settings["name"]
    aws.change(f"endpoint {name}: deleted", "sagemaker", "delete_endpoint", None, EndpointName=name)
    aws.wait(f"endpoint {name}", lambda: endpoint(aws), "EndpointStatus")
    if not aws.dry_run:
        aws.ledger.forget(f"endpoint {name}")


def _check(aws: Aws, container: Any, config: str, variants: Any, alarming: dict[str, Any]) -> None:
    """Judge every request before the first is sent."""
    model = {"ModelName": config, "ExecutionRoleArn": aws.role, "PrimaryContainer": container}
    planned = [("sagemaker", "create_model", model), ("sagemaker", "create_endpoint_config",
               {"EndpointConfigName": config, **variants})]  # fmt: skip
    planned += [("cloudwatch", "put_metric_alarm", request) for request in alarming.values()]
    for service, operation, request in planned:
        aws.check(service, operation, aws.complete(service, operation, request))


def _start(aws: Aws, config: str, found: Any) -> None:
    name = aws.settings["name"]
    if found:
        switch(aws, config)
        return
    undo = ("delete_endpoint", {"EndpointName": name})
    aws.change(f"endpoint {name}", "sagemaker", "create_endpoint", undo, EndpointName=name, EndpointConfigName=config)
    if not aws.dry_run:
        group = f"/aws/sagemaker/Endpoints/{name}"
        aws.ledger.begin(f"log group {group}", "logs", "delete_log_group", {"logGroupName": group})
    aws.wait(f"endpoint {name}", lambda: endpoint(aws), "EndpointStatus")


def _prove(aws: Aws, config: str, model: str, history: list[str]) -> str:
    """Compare what the endpoint is and answers with what it should; otherwise restore what served before."""
    name = aws.settings["name"]
    if aws.dry_run:
        return f"{name} would serve {model}"
    found = endpoint(aws)
    wrong = _wrong(aws, found, config) or invoke.wrong_answers(aws, model)
    if not wrong:
        aws.ledger.note(history=[*(one for one in history if one != config), config])
        return f"deployed: {name} serves {model}, and answers the sample requests as expected"
    for line in tail(aws, f"/aws/sagemaker/Endpoints/{name}", "", 10):
        print(f"  {line}")
    if "ping" in wrong:
        wrong += " ('make build check' shows why: S-12, S-13 and S-14 are the usual reasons)"
    if not history:
        remove(aws)
        raise Refusal(f"{wrong} – the endpoint is deleted; its log stays until 'make down'")
    if found["EndpointConfigName"] != history[-1] or found["EndpointStatus"] != "InService":
        found = switch(aws, history[-1])
    if not found or [found["EndpointStatus"], found["EndpointConfigName"]] != ["InService", history[-1]]:
        raise Refusal(f"{wrong} – and going back failed: {json.dumps(found, default=str)[:500]}")
    raise Refusal(f"{wrong} – rolled back: {name} serves {history[-1]} as before")


def _wrong(aws: Aws, found: Any, config: str) -> str:
    """What is wrong with the endpoint's own account of itself."""
    if not found or found["EndpointStatus"] != "InService" or found["EndpointConfigName"] != config:
        return f"the new model did not start: {(found or {}).get('FailureReason', 'see its log')}"
    images = [one.get("ResolvedImage", one["SpecifiedImage"]) for v in found["ProductionVariants"]
              for one in v.get("DeployedImages", ())]  # fmt: skip
    digest = aws.fact("image", "upload").partition("@")[2]
    return "" if all(digest in image for image in images) else f"the endpoint runs {images[0]}, not {digest}"
