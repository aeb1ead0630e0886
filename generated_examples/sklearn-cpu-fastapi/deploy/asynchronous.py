"""`async`: put a request into S3, and wait for its answer there."""

import time
from argparse import Namespace
from pathlib import Path

from deploy.calls import Aws
from deploy.invoke import samples, type_of
from deploy.settings import Refusal
from deploy.upload import digest


def run(aws: Aws, args: Namespace) -> str:
    """Print the answer to one file."""
    file = Path(args.file) if args.file else next(samples())[0]
    print(answer(aws, file, args.accept or "text/csv").decode(errors="replace").rstrip())
    return f"answered {file.name}"


def answer(aws: Aws, file: Path, accept: str) -> bytes:
    """The answer of an asynchronous endpoint. Raises Refusal with the model's reason."""
    name = aws.settings["name"]
    prefix = f"async/input/{digest([file], file.parent)}/"
    aws.own_prefix(prefix)
    uri = aws.put(file, prefix + file.name)
    request = {"EndpointName": name, "InputLocation": uri, "ContentType": type_of(file), "Accept": accept}
    sent = aws.ask("sagemaker-runtime", "invoke_endpoint_async", **request)
    if sent is None:
        raise Refusal(f"there is no endpoint {name} in service – 'make deploy', 'make status'")
    places = [sent["OutputLocation"], sent.get("FailureLocation")]
    deadline = time.monotonic() + 3600
    while time.monotonic() < deadline:
        for place in filter(None, places):
            bucket, _, key = place.removeprefix("s3://").partition("/")
            if found := aws.ask("s3", "get_object", Bucket=bucket, Key=key):
                body: bytes = found["Body"].read()
                if place != places[0]:
                    why = body.decode(errors="replace")[:300].strip()
                    raise Refusal(f"the model refused {file.name}: {why}")
                return body
        time.sleep(min(1, aws.settings["poll_seconds"]))
    raise Refusal(f"no answer to {file.name} after an hour – 'make logs'")
