"""Training jobs: the user's image, run as SageMaker runs it."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from sagegen import platform
from sagegen.engine import TROUBLE, Box, Closed, Exit, StartFailed, Volume
from sagegen.local import data
from sagegen.local.cloud import Cloud, Records, listed, now
from sagegen.local.identities import assume
from sagegen.local.images import Images
from sagegen.local.logs import LogStream
from sagegen.local.wire import Fault, Handler, invalid, not_emulated
from sagegen.platform import limits

GROUP = "/aws/sagemaker/TrainingJobs"
DEFAULT_RUNTIME = 24 * 3600
CHECKPOINTS = "/opt/ml/checkpoints"
CHECKPOINT_SECONDS = 10.0
ENDED = ("Completed", "Failed", "Stopped")
#: Of a request, what would change what the container sees and is not there yet.
REFUSED = {
    ("AlgorithmSpecification", "AlgorithmName"): "algorithms of the marketplace (AlgorithmName)",
    ("ResourceConfig", "InstanceGroups"): "heterogeneous clusters (InstanceGroups)",
    ("ResourceConfig", "TrainingPlanArn"): "training plans",
    ("ServerlessJobConfig",): "serverless jobs",
}


class TrainingJob:
    """One job: its record as DescribeTrainingJob tells it, and what runs for it."""

    def __init__(self, cloud: Cloud, images: Images, given: Mapping[str, Any]) -> None:
        self.cloud, self.images, self.name = cloud, images, str(given["TrainingJobName"])
        self.storage = cloud.storage(given["RoleArn"])
        self._stop = threading.Event()
        self._lines: list[str] = []
        #: Whether a spot interruption may still come (T-62).
        self._to_interrupt = "spot-kill" in cloud.conditions and given.get("EnableManagedSpotTraining", False)
        #: Set once the job has ended.
        self.ended = threading.Event()
        at = now()
        self.record: dict[str, Any] = {
            **given,
            "TrainingJobArn": cloud.arn("training-job", self.name.lower()),
            "TrainingJobStatus": "InProgress",
            "SecondaryStatus": "Starting",
            "SecondaryStatusTransitions": [],
            "CreationTime": at,
            "LastModifiedTime": at,
        }
        self._move("Starting", "Starting the training job")

    @property
    def output(self) -> str:
        """The S3 folder of what the job leaves."""
        return f"{self.record['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{self.name}/output"

    def stop(self) -> None:
        """SIGTERM, 120 s, SIGKILL (T-60). Raises Fault where the job has ended."""
        status = self.record["TrainingJobStatus"]
        if status != "InProgress":
            raise invalid(f"The request was rejected because the training job is in status {status}.")
        self._stop.set()
        self._move("Stopping", "Stopping the training job", "Stopping")

    def _move(self, secondary: str, message: str, status: str | None = None) -> None:
        at, record = now(), self.record
        if record["SecondaryStatusTransitions"]:
            record["SecondaryStatusTransitions"][-1]["EndTime"] = at
        record["SecondaryStatusTransitions"].append(
            {"Status": secondary, "StartTime": at, "StatusMessage": message}
        )
        if status in ENDED:
            record["SecondaryStatusTransitions"][-1]["EndTime"] = at
            record.setdefault("TrainingEndTime", at)
        record["SecondaryStatus"], record["LastModifiedTime"] = secondary, at
        if status:
            record["TrainingJobStatus"] = status

    # --- its run ---------------------------------------------------------------------------------------

    def run(self) -> None:
        """From its first container to its last record."""
        try:
            self._run()
        except Fault as fault:
            self._fail(f"{fault.code}: {fault.message}")
        except Closed:
            self._fail("InternalServerError: the emulator was ended")
        except TROUBLE as error:
            self._fail(f"InternalServerError: the Docker engine failed: {error}")
        except OSError as error:
            self._fail(f"InternalServerError: sagegen local has no place for the job's files: {error}")
        except Exception as error:
            self._fail(f"InternalServerError: a defect of sagegen local: {error!r}")
            raise
        finally:
            self.ended.set()

    def _fail(self, reason: str) -> None:
        self.record["FailureReason"] = reason[: limits.FAILURE_CHARACTERS]
        self._move("Failed", "Training job failed", "Failed")

    def _run(self) -> None:
        record = self.record
        image = self.images.find(record["AlgorithmSpecification"]["TrainingImage"])
        self._move("Downloading", "Downloading the training image")
        hosts = [f"algo-{number + 1}" for number in range(record["ResourceConfig"]["InstanceCount"])]
        while self._is_interrupted(image.identity, hosts):
            self._move("Interrupted", "The managed spot training instances were interrupted")
            self._move("Starting", "Starting the training job")

    def _is_interrupted(self, image: str, hosts: list[str]) -> bool:
        """Run the job on new instances, to its end or to a spot interruption."""
        record = self.record
        with ExitStack() as place:
            network = place.enter_context(self._network(len(hosts)))
            boxes = []
            for host in hosts:
                if self._stop.is_set():
                    break
                boxes.append(place.enter_context(self._container(image, host, hosts, network)))
            if self._stop.is_set():
                self._move("Stopped", "Training job stopped", "Stopped")
                return False
            record.setdefault("TrainingStartTime", now())
            self._move("Training", "Training image download completed. Training in progress.")
            began = int(time.time())
            role = record["RoleArn"]
            logs = [LogStream(self.cloud, GROUP, f"{self.name}/{host}-{began}", role) for host in hosts]
            for box, log in zip(boxes, logs, strict=True):
                try:
                    box.start()
                except StartFailed as error:
                    raise Fault(
                        "AlgorithmError", f"the container cannot start: {error}, exit code: 127"
                    ) from error
                log.follow(box)
                self._feed(box)
            exits, late = self._watch(boxes)
            seconds = int((now() - record["TrainingStartTime"]).total_seconds()) + 1
            record["TrainingTimeInSeconds"] = record["BillableTimeInSeconds"] = seconds
            for log in logs:
                log.close()
                self._lines += log.lines
            if not exits:
                return True
            record["FinalMetricDataList"] = self._metrics(self._lines)
            record["TrainingEndTime"] = now()
            self._leave(boxes, hosts, exits, late)
            return False

    @contextmanager
    def _network(self, hosts: int) -> Iterator[str | None]:
        isolated = self.record.get("EnableNetworkIsolation", False)
        if hosts > 1:
            with self.cloud.lab.cluster(way_out=not isolated) as name:
                yield name
        else:
            yield None if isolated else self.cloud.lab.network(way_out=True)

    @contextmanager
    def _container(self, image: str, host: str, hosts: list[str], network: str | None) -> Iterator[Box]:
        record, lab = self.record, self.cloud.lab
        algorithm = record["AlgorithmSpecification"]
        told, trees, volumes = {}, data.Tree(), []
        trees.folder("input/data")
        for channel in record.get("InputDataConfig", ()):
            name, source = channel["ChannelName"], channel["DataSource"]["S3DataSource"]
            mode = channel.get("InputMode", algorithm["TrainingInputMode"])
            shards = source.get("S3DataDistributionType", "FullyReplicated")
            bucket, objects = data.channel_objects(self.storage, source)
            if shards == "ShardedByS3Key":
                objects = objects[hosts.index(host) :: len(hosts)]
            told[name] = {**platform.CHANNEL, "S3DistributionType": shards}
            told[name] |= {
                key: channel[key] for key in ("ContentType", "RecordWrapperType") if key in channel
            }
            if mode == "FastFile":
                tree = data.Tree()
                tree.objects(self.storage, "", bucket, objects)
                with tree.done() as archive:
                    volume = lab.volume(archive, image)
                volumes.append(Volume(volume, f"/opt/ml/input/data/{name}", read_only=True))  # T-33
            else:
                folder = platform.PIPES if mode == "Pipe" else "input/data"
                trees.objects(self.storage, f"{folder}/{name}", bucket, objects)
                told[name]["TrainingInputMode"] = mode
        if checkpoints := record.get("CheckpointConfig"):
            bucket, prefix, keys = self.storage.objects(checkpoints["S3Uri"].rstrip("/") + "/")
            trees.objects(self.storage, "checkpoints", bucket, [(key, key[len(prefix) :]) for key in keys])
        entrypoint = algorithm.get("ContainerEntrypoint")
        job = platform.Job(
            record.get("HyperParameters", {}),
            told,
            {**platform.RESOURCES, "current_instance_type": record["ResourceConfig"]["InstanceType"]},
            environment=record.get("Environment", {}),
            entrypoint=tuple(entrypoint) if entrypoint else None,
            command=tuple(algorithm.get("ContainerArguments", () if entrypoint else ("train",))),
        ).on_host(host, hosts, record["ResourceConfig"]["InstanceType"])
        for path, content in job.files().items():
            trees.folder(path) if content is None else trees.file(path, content)
        given = platform.job_environment(self.name, self.cloud.region)
        tree_volume = Volume(lab.volume(), "/opt/ml")
        spec = job.spec(given, (tree_volume, *volumes), network, image)
        with lab.container(spec) as box, trees.done() as archive:
            box.write("/opt/ml", archive)
            yield box

    def _feed(self, box: Box) -> None:
        """Let the image's shell feed its FIFOs."""
        usual = self.record["AlgorithmSpecification"]["TrainingInputMode"]
        modes = [channel.get("InputMode", usual) for channel in self.record.get("InputDataConfig", ())]
        if "Pipe" in modes:
            if box.shell("true") is None and box.state().running:
                raise not_emulated("Pipe mode for an image without /bin/sh")
            with suppress(*TROUBLE):  # it has ended
                box.detach("/bin/sh", "-c", platform.feeder())

    def _watch(self, boxes: list[Box]) -> tuple[list[Exit], bool]:
        """Wait for every host's end. One that fails ends the others, and so do a stop and the time limit.

        Returns no end where a spot interruption came first.
        """
        allowed = self.record["StoppingCondition"].get("MaxRuntimeInSeconds", DEFAULT_RUNTIME)
        end, saved = time.monotonic() + allowed, time.monotonic()
        while True:
            states = [box.wait(0.3) if index == 0 else box.state() for index, box in enumerate(boxes)]
            if not any(state.running for state in states):
                return states, False
            late, failed = time.monotonic() > end, any(state.code for state in states)
            if self._stop.is_set() or late or failed:
                with ThreadPoolExecutor(len(boxes)) as pool:
                    list(pool.map(lambda box: box.stop(limits.STOP_TRAINING), boxes))
                return [box.wait(10) for box in boxes], late and not failed and not self._stop.is_set()
            if self._to_interrupt and any(box.names(self._checkpoints) for box in boxes):
                self._to_interrupt = False
                for box in boxes:
                    box.signal("KILL")
                    box.wait(10)
                self._save(boxes)
                return [], False
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                self._save(boxes)
                saved = time.monotonic()

    @property
    def _checkpoints(self) -> str:
        return str(self.record.get("CheckpointConfig", {}).get("LocalPath", CHECKPOINTS))

    def _save(self, boxes: list[Box]) -> None:
        if checkpoints := self.record.get("CheckpointConfig"):
            for box in boxes:
                data.upload(self.storage, box, self._checkpoints, checkpoints["S3Uri"])

    def _leave(self, boxes: list[Box], hosts: list[str], exits: list[Exit], late: bool) -> None:
        """Upload what the job left, and say how it ended."""
        self._save(boxes)
        self._move("Uploading", "Uploading generated training model")
        packed = {"model.tar.gz": "/opt/ml/model", "output.tar.gz": "/opt/ml/output/data"}
        failed = next((index for index, state in enumerate(exits) if state.code), None)
        stopped = self._stop.is_set() or late
        for name, folder in packed.items():
            if failed is not None and not stopped and name == "model.tar.gz":
                continue
            archive = data.pack(boxes, folder)
            if archive is None and name == "output.tar.gz":
                continue
            with archive or data.empty() as content:
                self.storage.put(f"{self.output}/{name}", content)
        if failed is not None and not stopped:
            text = data.failure_text(boxes[failed])[: limits.FAILURE_CHARACTERS]
            memory = "the container ran out of memory" if exits[failed].out_of_memory and not text else text
            raise Fault("AlgorithmError", f"{memory}, exit code: {exits[failed].code}")
        self.record["ModelArtifacts"] = {"S3ModelArtifacts": f"{self.output}/model.tar.gz"}
        if late:
            text = "Training job runtime exceeded MaxRuntimeInSeconds provided"
            self._move("MaxRuntimeExceeded", text, "Stopped")
        elif stopped:
            self._move("Stopped", "Training job stopped", "Stopped")
        else:
            self._move("Completed", "Training job completed", "Completed")

    def _metrics(self, lines: list[str]) -> list[dict[str, Any]]:
        """The last value of each metric that the log has (T-75)."""
        found = {}
        for definition in self.record["AlgorithmSpecification"].get("MetricDefinitions", ()):
            rule = re.compile(definition["Regex"])
            for line in lines:
                if (match := rule.search(line)) and (value := _number(match[1])) is not None:
                    found[definition["Name"]] = value
        return [{"MetricName": name, "Value": value, "Timestamp": now()} for name, value in found.items()]


def _number(text: str) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None


class Training:
    """The operations on training jobs."""

    def __init__(self, cloud: Cloud, images: Images) -> None:
        self.cloud, self.images = cloud, images
        self.jobs = Records(cloud, "training-job", "training job", job=True)
        self.handlers: dict[str, Handler] = {
            "CreateTrainingJob": self.create,
            "DescribeTrainingJob": lambda given: self.jobs.get(given["TrainingJobName"]).record,
            "StopTrainingJob": lambda given: self.jobs.get(given["TrainingJobName"]).stop(),
            "ListTrainingJobs": self.list,
        }

    def create(self, given: dict[str, Any]) -> dict[str, Any]:
        """Judge a request, and start the job."""
        check(given)
        assume(self.cloud, given["RoleArn"])
        return {"TrainingJobArn": self.begin(given).record["TrainingJobArn"]}

    def begin(self, given: dict[str, Any]) -> TrainingJob:
        """Start a job that was judged. Raises Fault where its name is taken."""
        job = TrainingJob(self.cloud, self.images, given)
        self.jobs.add(job.name, job)
        self.cloud.tag(job.record["TrainingJobArn"], given)
        self.cloud.begin(job.run)
        return job

    def list(self, given: dict[str, Any]) -> dict[str, Any]:
        """A page of ListTrainingJobs."""
        records = [job.record for job in self.jobs]
        return listed(
            records, given, "TrainingJobSummaries", name="TrainingJobName", status="TrainingJobStatus"
        )


def check(given: Mapping[str, Any]) -> None:
    """Refuse what botocore's model lets through and AWS does not, and what is not emulated."""
    for path, words in REFUSED.items():
        part: Any = given
        for name in path:
            part = part.get(name) if isinstance(part, Mapping) else None
        if part:
            raise not_emulated(words)
    algorithm, condition = given["AlgorithmSpecification"], given.get("StoppingCondition")
    if not algorithm.get("TrainingImage"):
        raise invalid("Either TrainingImage or AlgorithmName must be specified in AlgorithmSpecification")
    if condition is None:
        raise invalid("StoppingCondition is required")
    resources = given.get("ResourceConfig", {})
    for name in ("InstanceType", "InstanceCount"):
        if not resources.get(name):
            raise invalid(f"ResourceConfig must have {name}")
    if not given.get("OutputDataConfig", {}).get("S3OutputPath", "").startswith("s3://"):
        raise invalid("OutputDataConfig must have an S3OutputPath that starts with s3://")
    if given["OutputDataConfig"].get("CompressionType", "GZIP") != "GZIP":
        raise not_emulated("OutputDataConfig.CompressionType NONE")
    for definition in algorithm.get("MetricDefinitions", ()):
        try:
            groups = re.compile(definition["Regex"]).groups
        except re.error as error:
            raise invalid(f"The metric {definition['Name']} has an invalid Regex: {error}") from error
        if groups < 1:
            raise invalid(f"The metric {definition['Name']} has a Regex without a group (T-75)")
    if given.get("EnableManagedSpotTraining"):
        wait, run = (
            condition.get("MaxWaitTimeInSeconds"),
            condition.get("MaxRuntimeInSeconds", DEFAULT_RUNTIME),
        )
        if wait is None or wait < run:
            raise invalid("MaxWaitTimeInSeconds must be greater than or equal to MaxRuntimeInSeconds (T-56)")
    elif condition.get("MaxWaitTimeInSeconds"):
        raise invalid("MaxWaitTimeInSeconds can only be set where EnableManagedSpotTraining is true")
    names = [channel["ChannelName"] for channel in given.get("InputDataConfig", ())]
    if len(set(names)) < len(names):
        raise invalid("The names of the channels in InputDataConfig must be unique")
    for channel in given.get("InputDataConfig", ()):
        _check_channel(channel, algorithm["TrainingInputMode"])


def _check_channel(channel: Mapping[str, Any], mode: str) -> None:
    name, mode = channel["ChannelName"], channel.get("InputMode", mode)
    if "S3DataSource" not in channel["DataSource"]:
        raise not_emulated(f"channel {name}: a data source that is not S3")
    source = channel["DataSource"]["S3DataSource"]
    if mode == "Pipe" and (
        channel.get("ShuffleConfig") or channel.get("RecordWrapperType", "None") != "None"
    ):
        raise not_emulated(f"channel {name}: ShuffleConfig and RecordWrapperType in Pipe mode")
    if mode == "Pipe" and channel.get("CompressionType", "None") != "None":
        raise not_emulated(f"channel {name}: CompressionType in Pipe mode")
    if source["S3DataType"] not in ("S3Prefix", "ManifestFile"):
        raise not_emulated(f"channel {name}: S3DataType {source['S3DataType']}")
    if mode == "FastFile" and source["S3DataType"] != "S3Prefix":
        raise invalid(f"channel {name}: FastFile mode takes S3DataType S3Prefix alone (T-33)")
    for option, harmless in (("CompressionType", "None"), ("RecordWrapperType", "None")):
        if channel.get(option, harmless) != harmless:
            raise invalid(f"channel {name}: {option} {channel[option]} acts in Pipe mode alone (T-35)")
    if not source["S3Uri"].startswith("s3://"):
        raise invalid(f"channel {name}: S3Uri must start with s3://")
    if source.get("S3DataDistributionType") not in (None, "FullyReplicated", "ShardedByS3Key"):
        raise not_emulated(f"channel {name}: {source['S3DataDistributionType']}")
