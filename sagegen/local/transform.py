"""Batch transform: a file of S3 through the user's container, and back."""

from __future__ import annotations

import http.client
import json
import tempfile
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import IO, Any

from botocore.exceptions import ClientError

from sagegen.engine import SPOOL_BYTES, TROUBLE, Closed
from sagegen.local import data
from sagegen.local.cloud import Cloud, Records, listed, now
from sagegen.local.front import named
from sagegen.local.models import Models, containers, is_multi
from sagegen.local.processing import Processing
from sagegen.local.servers import Server, TimedOut, Trouble
from sagegen.local.wire import Fault, Handler, invalid, not_emulated
from sagegen.platform import limits, transform_environment
from sagegen.platform.serving import STRATEGIES

GROUP = "/aws/sagemaker/TransformJobs"
RETRIES = 3  # B-06
MOST_MEGABYTES = 100  # B-07
READ = 2**20


class TransformJob:
    """One job: its record as DescribeTransformJob tells it, and what runs for it."""

    def __init__(self, cloud: Cloud, models: Models, given: Mapping[str, Any]) -> None:
        self.cloud, self.models, self.name = cloud, models, str(given["TransformJobName"])
        self._stop = threading.Event()
        self.record: dict[str, Any] = {
            **given,
            "TransformJobArn": cloud.arn("transform-job", self.name.lower()),
            "TransformJobStatus": "InProgress",
            "CreationTime": now(),
        }
        #: Kept, for the model may be deleted meanwhile.
        self._model = models.records.get(given["ModelName"])
        if is_multi(containers(self._model)[0]):
            raise invalid("A transform job takes no model with Mode MultiModel")
        self.storage = cloud.storage(self._model.get("ExecutionRoleArn"))

    def stop(self) -> None:
        """End it after what is being answered. Raises Fault where it has ended."""
        if self.record["TransformJobStatus"] != "InProgress":
            status = self.record["TransformJobStatus"]
            raise invalid(f"The request was rejected because the transform job is in status {status}.")
        self.record["TransformJobStatus"] = "Stopping"
        self._stop.set()

    def run(self) -> None:
        """From its first container to its last record."""
        status, reason = "Failed", ""
        try:
            self._run()
            status = "Stopped" if self._stop.is_set() else "Completed"
        except Fault as fault:
            reason = f"{fault.code}: {fault.message}"
        except (Trouble, RuntimeError) as error:
            reason = f"AlgorithmError: {error}"
        except Closed:
            reason = "InternalServerError: the emulator was ended"
        except TROUBLE as error:
            reason = f"InternalServerError: the Docker engine failed: {error}"
        except OSError as error:
            reason = f"InternalServerError: sagegen local has no place for the job's files: {error}"
        except Exception as error:
            reason = f"InternalServerError: a defect of sagegen local: {error!r}"
            raise
        finally:
            if reason:
                self.record["FailureReason"] = reason[: limits.FAILURE_CHARACTERS]
            self.record["TransformEndTime"] = now()
            self.record["TransformJobStatus"] = status

    def _run(self) -> None:
        record = self.record
        source = record["TransformInput"]["DataSource"]["S3DataSource"]
        bucket, objects = data.channel_objects(self.storage, source)
        environment = {
            **record.get("Environment", {}),
            **transform_environment(
                record.get("BatchStrategy"),
                record.get("MaxPayloadInMB"),
                record.get("MaxConcurrentTransforms"),
            ),
        }
        count = record["TransformResources"]["InstanceCount"]
        with ExitStack() as place:
            servers = []
            for number in range(count):
                stream = f"{self.name}/i-{number + 1:017x}"
                server = Server(self.models, self._model, GROUP, stream, environment)
                place.callback(server.end)
                servers.append(server)
            record["TransformStartTime"] = now()
            with ThreadPoolExecutor(count) as pool:
                words = "The primary container"
                list(pool.map(lambda server: server.start(limits.STARTUP, words), servers))
            settings = self._settings(servers[0])
            shares = [objects[number::count] for number in range(count)]
            bad: list[str] = []

            def work(server: Server, share: data.Objects) -> None:
                for key, _ in share:
                    if self._stop.is_set() or self.cloud.closed:
                        return
                    try:
                        self._object(server, bucket, key, settings)
                    except Fault as fault:  # other files go on (B-12)
                        bad.append(f"{key}: {fault.message}")

            with ThreadPoolExecutor(count) as pool:
                list(pool.map(work, servers, shares))
        if bad:
            raise Fault("AlgorithmError", "; ".join(sorted(bad)))

    def _settings(self, server: Server) -> dict[str, Any]:
        """The request's own, then those of /execution-parameters, then the defaults (B-04)."""
        told: dict[str, Any] = {}
        try:
            status, _, body = server.ask("GET", "/execution-parameters", seconds=limits.PING)
            if status == 200:
                told = json.loads(body)
        except (OSError, http.client.HTTPException, TimedOut, ValueError):
            told = {}
        strategies = {spoken: name for name, spoken in STRATEGIES.items()}
        asked = {**told, "BatchStrategy": strategies.get(str(told.get("BatchStrategy")), "MultiRecord")}
        own = named(self.record, "BatchStrategy", "MaxConcurrentTransforms", "MaxPayloadInMB")
        found = {
            "MaxConcurrentTransforms": 1,
            "MaxPayloadInMB": limits.TRANSFORM_PAYLOAD_MEGABYTES,
            **asked,
            **own,
        }
        whole = all(type(found[name]) is int for name in ("MaxConcurrentTransforms", "MaxPayloadInMB"))
        if not whole or found["MaxConcurrentTransforms"] * found["MaxPayloadInMB"] > MOST_MEGABYTES:
            raise Fault("AlgorithmError", f"/execution-parameters are out of range: {told} (B-04, B-07)")
        return found

    def _object(self, server: Server, bucket: str, key: str, settings: Mapping[str, Any]) -> None:
        """One file: all of its answers are there, or there is no output (B-12, B-13)."""
        record = self.record
        asked, output = record["TransformInput"], record["TransformOutput"]
        headers = {"Content-Type": asked.get("ContentType", "application/octet-stream")}
        headers |= {"Accept": output["Accept"]} if output.get("Accept") else {}
        client = record.get("ModelClientConfig", {})
        seconds = float(client.get("InvocationsTimeoutInSeconds", limits.TRANSFORM_INVOCATION))
        tries = 1 + int(client.get("InvocationsMaxRetries", RETRIES))
        lines = output.get("AssembleWith", "None") == "Line"

        processing = Processing(record)

        def answer(body: bytes) -> bytes:
            said = ""
            sent = processing.before(body) if processing.active else body
            for _ in range(tries):
                try:
                    status, _, content = server.ask("POST", "/invocations", sent, headers, seconds)
                except (OSError, http.client.HTTPException, TimedOut) as error:
                    said = f"no answer: {error!r}"
                    continue
                if 200 <= status < 300 and processing.active:
                    return processing.after(body, content)
                if 200 <= status < 300:
                    return content if not lines or content.endswith(b"\n") else content + b"\n"
                said = f"HTTP {status}: {content.decode(errors='replace')[:500]}"
                if status < 500:  # which answers are tried again is not documented (B-15)
                    break
            raise Fault("AlgorithmError", said)

        try:
            body = self.storage.read(bucket, key)
        except ClientError as error:
            raise Fault("ClientError", error.response["Error"]["Message"]) from error
        most = settings["MaxPayloadInMB"] * 2**20
        payloads = batches(body, asked.get("SplitType", "None"), settings["BatchStrategy"], most)
        with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as out:
            workers = settings["MaxConcurrentTransforms"]
            with ThreadPoolExecutor(workers) as pool:
                for content in _ordered(pool, workers, answer, payloads):
                    out.write(content)
            out.seek(0)
            self.storage.put(f"{output['S3OutputPath'].rstrip('/')}/{self._place(key)}.out", out)

    def _place(self, key: str) -> str:
        """The key's path under the output: what follows the prefix's last folder."""
        source = self.record["TransformInput"]["DataSource"]["S3DataSource"]
        if source["S3DataType"] == "ManifestFile":
            return key
        prefix = source["S3Uri"].removeprefix("s3://").partition("/")[2]
        return data.relative(key, prefix)


def _ordered(pool: ThreadPoolExecutor, wide: int, work: Any, items: Iterator[bytes]) -> Iterator[bytes]:
    """The results in order, with at most twice as many items read as can be worked on."""
    waiting: list[Any] = []
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= 2 * wide:
                yield waiting.pop(0).result()
        while waiting:
            yield waiting.pop(0).result()
    finally:
        for future in waiting:
            future.cancel()


def batches(body: IO[bytes], split: str, strategy: str, most: int) -> Iterator[bytes]:
    """The payloads that a file becomes: whole, line by line, or as many lines as fit (B-09)."""
    if split == "None":
        content = body.read()
        if most and len(content) > most:
            raise Fault(
                "ClientError", f"the file is longer than MaxPayloadInMB ({most} bytes), and is not split"
            )
        yield content
        return
    batch = bytearray()
    for line in _lines(body):
        if len(line) > most:
            raise Fault("ClientError", f"a record is longer than MaxPayloadInMB ({most} bytes)")
        if batch and (strategy == "SingleRecord" or len(batch) + len(line) > most):
            yield bytes(batch)
            batch.clear()
        batch += line
    if batch:
        yield bytes(batch)


def _lines(body: IO[bytes]) -> Iterator[bytes]:
    left = b""
    while chunk := body.read(READ):
        *whole, left = (left + chunk).split(b"\n")
        yield from (line + b"\n" for line in whole)
    if left:
        yield left


class Transform:
    """The operations on transform jobs."""

    def __init__(self, cloud: Cloud, models: Models) -> None:
        self.cloud, self.models = cloud, models
        self.jobs = Records(cloud, "transform-job", "transform job", job=True)
        self.handlers: dict[str, Handler] = {
            "CreateTransformJob": self.create,
            "DescribeTransformJob": lambda given: self.jobs.get(given["TransformJobName"]).record,
            "StopTransformJob": lambda given: self.jobs.get(given["TransformJobName"]).stop(),
            "ListTransformJobs": lambda given: listed(
                [job.record for job in self.jobs],
                given,
                "TransformJobSummaries",
                name="TransformJobName",
                status="TransformJobStatus",
            ),
        }

    def create(self, given: dict[str, Any]) -> dict[str, Any]:
        """Judge a request, and start the job."""
        check(given)
        job = TransformJob(self.cloud, self.models, given)
        self.jobs.add(job.name, job)
        self.cloud.tag(job.record["TransformJobArn"], given)
        self.cloud.begin(job.run)
        return {"TransformJobArn": job.record["TransformJobArn"]}


def check(given: Mapping[str, Any]) -> None:
    """Refuse what botocore's model lets through and AWS does not, and what is not emulated."""
    asked, output = given["TransformInput"], given["TransformOutput"]
    split, source = asked.get("SplitType", "None"), asked["DataSource"]["S3DataSource"]
    Processing(given)
    if given.get("DataCaptureConfig"):
        raise not_emulated("DataCaptureConfig of a transform job")
    if split not in ("None", "Line"):
        raise not_emulated(f"SplitType {split}")
    if asked.get("CompressionType", "None") != "None":
        raise not_emulated(f"CompressionType {asked['CompressionType']}")
    if given.get("MaxPayloadInMB") == 0:
        raise not_emulated("MaxPayloadInMB 0 (a streamed file)")
    if source["S3DataType"] not in ("S3Prefix", "ManifestFile"):
        raise not_emulated(f"S3DataType {source['S3DataType']}")
    for uri in (source["S3Uri"], output["S3OutputPath"]):
        if not uri.startswith("s3://"):
            raise invalid(f"{uri} must start with s3://")
    if given.get("BatchStrategy") == "SingleRecord" and split == "None":
        raise invalid("BatchStrategy SingleRecord needs a SplitType (B-09)")
    payload = given.get("MaxPayloadInMB", limits.TRANSFORM_PAYLOAD_MEGABYTES)
    if payload * given.get("MaxConcurrentTransforms", 1) > MOST_MEGABYTES:
        raise invalid(f"MaxConcurrentTransforms * MaxPayloadInMB must be at most {MOST_MEGABYTES} (B-07)")
