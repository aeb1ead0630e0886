"""Write sample requests in every form that model.py accepts, and the trained model's answers to them.

    record.py RECORDED OUT [EXAMPLES]

record.sh runs it, in the image. RECORDED holds what was recorded before, OUT is an empty folder. EXAMPLES is
a file of inputs in any form that the model accepts, or a folder of files of which each is one input. Without
it the requests in RECORDED stay, and are answered again.
"""

import base64
import csv
import importlib
import io
import json
import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow
from compare import same
from pyarrow import parquet

from byoc import hooks, payloads
from byoc.errors import RequestError
from byoc.inputs import Media, Numbers, Table, Text, declared
from byoc.serving.loaded_model import LoadedModel

# As predict.sh has them: a request's suffix decides its Content-Type, an answer's suffix the Accept header.
MEDIA_TYPES = {
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
ANSWERS = {"text/csv": "csv", "application/json": "json", "*/*": "bin"}
Requests = dict[str, bytes]


def media_type(name: str) -> str:
    return MEDIA_TYPES.get(Path(name).suffix.lower(), "application/octet-stream")


def is_expected(name: str) -> bool:
    return "expected" in name.split(".")


def requests(examples: Path, model: ModuleType) -> Requests:
    """The example inputs in every form that INPUTS accepts; only as they are if decode() reads them."""
    files = (
        [examples] if examples.is_file() else sorted(file for file in examples.iterdir() if file.is_file())
    )
    bodies = {file.name: file.read_bytes() for file in files if not file.name.startswith(".")}
    inputs = declared(model)
    images = any(
        media_type(name).partition("/")[0] in ("image", "application/octet-stream") for name in bodies
    )
    if hooks.decoder(model) or not bodies or (images and inputs is None):
        return bodies
    first, body = next(iter(bodies.items()))
    if isinstance(inputs, Media):
        as_bytes = payloads.decoder(Media(*inputs.media_types))
        items = [item for name, body in bodies.items() for item in as_bytes(body, media_type(name))]
        several = as_lists([{"b64": base64.b64encode(item).decode()} for item in items])
        return {
            **several,
            **({} if first.endswith((".json", ".jsonl")) else {f"one{Path(first).suffix}": body}),
        }
    if len(bodies) > 1:
        sys.exit(f"{examples} holds {len(bodies)} files; give one file of examples")
    if isinstance(inputs, Text):
        texts = payloads.decoder(inputs)(body, media_type(first))
        return {
            **as_lists(texts),
            "records.csv": as_csv([[text] for text in texts]),
            "one.txt": texts[0].encode(),
        }
    if isinstance(inputs, (Numbers, Table)):
        table = Table(inputs.columns) if isinstance(inputs, Table) else inputs
        read = payloads.decoder(table)(body, media_type(first))
        columns = read if isinstance(read, dict) else dict(zip(inputs.names, read.T, strict=True))
        return tables({name: [plain(cell) for cell in column.tolist()] for name, column in columns.items()},
                      numbers=isinstance(inputs, Numbers))  # fmt: skip
    read = payloads.decoder(None, bool(getattr(model, "ACCEPTS_MISSING", False)))(body, media_type(first))
    return undeclared(read) or {first: body}


def tables(columns: Mapping[str, list[Any]], *, numbers: bool) -> Requests:
    rows = list(zip(*columns.values(), strict=True))
    bodies = {
        **as_lists([dict(zip(columns, row, strict=True)) for row in rows]),
        "records.csv": as_csv([list(columns), *rows]),
        "records.parquet": as_parquet(columns),
    }
    if numbers and not any(isinstance(cell, str) for row in rows for cell in row):
        bodies["records.npy"] = as_npy(np.array(rows, dtype=float))
    return bodies


def undeclared(inputs: np.ndarray) -> Requests:
    """What the array of a model without a declaration comes from; nothing if these are bytes."""
    rows = [plain(row) for row in inputs.tolist()]
    if inputs.dtype.names:
        return as_lists([dict(zip(inputs.dtype.names, row, strict=True)) for row in rows])
    if any(isinstance(row, bytes) for row in rows):
        return {}
    bodies = as_lists(rows)
    if inputs.ndim == 1 and inputs.dtype.kind == "U":
        bodies["one.txt"] = rows[0].encode()
    if inputs.ndim == 2:
        bodies["records.csv"] = as_csv(rows)
        columns = zip(*rows, strict=True)
        bodies["records.parquet"] = as_parquet({str(n): list(cells) for n, cells in enumerate(columns)})
    if inputs.dtype.kind == "f":
        bodies["records.npy"] = as_npy(inputs)
    return bodies


def plain(value: Any) -> Any:
    """A value as JSON has it: None for a missing one, whole numbers without a fraction, dates of ISO 8601."""
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return None if math.isnan(value) else int(value) if value.is_integer() else value
    return value.isoformat() if isinstance(value, datetime) else value


def as_lists(rows: Sequence[Any]) -> Requests:
    """JSON and JSON Lines, with a line for each row, which makes a readable diff."""
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    return {
        "records.json": ('{"instances": [\n' + ",\n".join(lines) + "\n]}\n").encode(),
        "records.jsonl": ("\n".join(lines) + "\n").encode(),
    }


def as_csv(rows: Sequence[Sequence[Any]]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode()


def as_parquet(columns: Mapping[str, list[Any]]) -> bytes:
    out = io.BytesIO()
    parquet.write_table(pyarrow.table(dict(columns)), out)
    return out.getvalue()


def as_npy(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def ask(loaded: LoadedModel, bodies: Requests) -> tuple[str, dict[str, bytes]]:
    """The suffix of the model's answers, and the answers: CSV, or JSON where CSV cannot hold all of them."""
    for accept, suffix in ANSWERS.items():
        answers: dict[str, bytes] = {}
        for name, body in sorted(bodies.items()):
            response = loaded.invoke(body, media_type(name), accept)
            if response.status == 406 or accept not in (response.media_type, "*/*"):
                break
            if response.status != 200:
                reason = response.body.decode(errors="replace").strip()
                sys.exit(f"{name} ({media_type(name)}) gets {response.status}: {reason}")
            # Equal but for the last digits: then it is the same answer.
            known = (answer for answer in answers.values() if same(response.body, answer))
            answers[name] = next(known, response.body)
        else:
            return suffix, answers
    raise AssertionError("*/* accepts everything")


def main() -> None:
    """Write requests and answers to OUT, or end with one line that says why not."""
    recorded, out, *examples = map(Path, sys.argv[1:])
    before = {file.name: file.read_bytes() for file in recorded.iterdir()} if recorded.is_dir() else {}
    loaded = LoadedModel()
    model = importlib.import_module("model")  # only now: the framework had to be prepared for it
    bodies = {name: body for name, body in before.items() if not is_expected(name)}
    try:
        bodies = requests(examples[0], model) if examples else bodies
    except RequestError as error:
        sys.exit(f"the examples are no request to this model: {error.reason}")
    if not bodies:
        sys.exit("there are no examples: name a file of inputs, as in make record FROM=examples.csv")
    suffix, answers = ask(loaded, bodies)
    records = {name: answers[name] for name in answers if examples and name.startswith("records.")}
    if len(set(records.values())) > 1:
        names = ", ".join(sorted(records))
        sys.exit(f"the same inputs get different answers in {names}; predict() must always give the same")
    common = next(iter(records.values()), None) or Counter(answers.values()).most_common(1)[0][0]
    for name, body in bodies.items():
        expected = f"expected.{suffix}" if answers[name] == common else f"{name}.expected.{suffix}"
        is_known = expected in before and same(answers[name], before[expected])
        (out / expected).write_bytes(before[expected] if is_known else answers[name])
        (out / name).write_bytes(body)


if __name__ == "__main__":
    main()
