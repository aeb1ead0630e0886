"""Data capture: what an endpoint was asked and what it answered, as lines of JSON in S3."""

from __future__ import annotations

import base64
import json
import random
import sys
from collections.abc import Mapping
from typing import Any

from botocore.exceptions import BotoCoreError

from sagegen.local.cloud import now
from sagegen.local.hosting import Endpoint
from sagegen.local.wire import Fault, identity

Message = tuple[str, bytes]  # Content-Type and body


def wanted(endpoint: Endpoint) -> Mapping[str, Any] | None:
    """The DataCaptureConfig by which this invocation is captured; None where it is not."""
    config: Mapping[str, Any] = endpoint.config.get("DataCaptureConfig", {})
    sampled = config.get("EnableCapture") and random.random() * 100 < config["InitialSamplingPercentage"]
    return config if sampled else None


def capture(
    endpoint: Endpoint,
    variant: str,
    config: Mapping[str, Any],
    headers: Mapping[str, str],
    sides: Mapping[str, Message],
) -> None:
    """Write one invocation; `sides` are Input and Output. That it cannot be written is told on stderr."""
    at = now()
    modes = {option["CaptureMode"] for option in config["CaptureOptions"]}
    types = config.get("CaptureContentTypeHeader", {})
    data = {
        f"endpoint{side}": {
            "observedContentType": kind,
            "mode": side.upper(),
            **_written(kind.partition(";")[0].strip().lower(), body, types),
        }
        for side, (kind, body) in sides.items()
        if modes & {side, "InputAndOutput"}
    }
    event = {"eventId": identity(), "inferenceTime": at.strftime("%Y-%m-%dT%H:%M:%SZ")}
    if attributes := headers.get("x-amzn-sagemaker-custom-attributes"):
        event["customAttributes"] = [attributes]  # type: ignore[assignment]
    if inference := headers.get("x-amzn-sagemaker-inference-id"):
        event["inferenceId"] = inference
    line = {"captureData": data, "eventMetadata": event, "eventVersion": "0"}
    folder = f"{config['DestinationS3Uri'].rstrip('/')}/{endpoint.name}/{variant}/{at:%Y/%m/%d/%H}"
    name = f"{at:%M-%S}-{at.microsecond // 1000:03d}-{identity()}.jsonl"
    try:
        endpoint.cloud.storage(endpoint.role).put(f"{folder}/{name}", json.dumps(line).encode() + b"\n")
    except (Fault, BotoCoreError) as error:
        print(f"sagegen: {endpoint.name}: an invocation was not captured: {error}", file=sys.stderr)


def _written(kind: str, body: bytes, types: Mapping[str, Any]) -> dict[str, str]:
    """The body as text where its type is listed as CSV or JSON, and else as base64."""
    for encoding, listed in (("CSV", "CsvContentTypes"), ("JSON", "JsonContentTypes")):
        if kind in types.get(listed, ()):
            return {"data": body.decode(errors="replace"), "encoding": encoding}
    return {"data": base64.b64encode(body).decode(), "encoding": "BASE64"}
