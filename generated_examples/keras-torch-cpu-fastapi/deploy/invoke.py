"""`invoke`: send the sample requests, or one file, to the endpoint."""

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from deploy.calls import Aws
from deploy.settings import ROOT, Refusal
from local_test.compare import same

PAYLOADS = ROOT / "local_test/payloads"
#: As in local_test/predict.sh.
TYPES = {
    ".csv": "text/csv",
    ".json": "application/json",
    ".jsonl": "application/jsonlines",
    ".npy": "application/x-npy",
    ".parquet": "application/x-parquet",
    ".txt": "text/plain",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
}


def run(aws: Aws, args: Namespace) -> str:
    """Print the answer to one file, or compare those to all sample requests."""
    if args.file:
        accept = args.accept or "text/csv"
        answer, model = ask(aws, Path(args.file), accept)
        print(answer.decode(errors="replace").rstrip())
        return f"answered by {model or aws.settings['name']}"
    if wrong := wrong_answers(aws, ""):
        raise Refusal(wrong)
    return f"{len(list(samples()))} sample requests are answered as expected"


def samples() -> Iterator[tuple[Path, Path]]:
    """Each sample request and the file of the answer that is expected."""
    for file in sorted(PAYLOADS.iterdir()):
        if not file.name.startswith(("expected.", ".")) and ".expected." not in file.name:
            expected = [*PAYLOADS.glob(f"{file.name}.expected.*"), *PAYLOADS.glob("expected.*")]
            if not expected:
                raise Refusal(f"there is no expected answer for {file.name} – make record")
            yield file, expected[0]


def type_of(file: Path) -> str:
    return TYPES.get(file.suffix, "application/octet-stream")


def ask(aws: Aws, file: Path, accept: str) -> tuple[bytes, str]:
    """The answer, and the name of the model that gave it."""
    try:
        body = file.read_bytes()
    except OSError as error:
        raise Refusal(f"cannot read {file}: {error.strerror}") from None
    name = aws.settings["name"]
    if aws.settings["hosting"]["mode"] == "async":
        from deploy.asynchronous import answer

        return answer(aws, file, accept), ""
    request = {"EndpointName": name, "Body": body, "ContentType": type_of(file), "Accept": accept}
    found = aws.ask("sagemaker-runtime", "invoke_endpoint", **request)
    if found is None:
        raise Refusal(f"there is no endpoint {name} in service – 'make deploy', 'make status'")
    return found["Body"].read(), found.get("CustomAttributes", "")


def wrong_answers(aws: Aws, model: str) -> str:
    """Which sample request is answered wrongly, or by another model than this; empty if none."""
    for file, expected in samples():
        try:
            answer, by = ask(aws, file, type_of(expected))
        except Refusal as refusal:
            return f"{file.name}: {refusal}"
        if model and by != model and aws.settings["hosting"]["mode"] != "async":
            return f"{file.name} was answered by {by or 'an unknown model'}, not {model}"
        if not same(answer, expected.read_bytes()):
            return f"{file.name}: the answer is not {expected.name}, it begins with {answer[:60]!r}"
    return ""
