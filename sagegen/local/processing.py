"""DataProcessing of a transform job: filters of inputs and outputs, and their join (B-11)."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping
from typing import Any

from sagegen.local.wire import Fault, invalid

CSV, JSON, JSON_LINES = "text/csv", "application/json", "application/jsonlines"
OUTPUT, INPUT = "SageMakerOutput", "SageMakerInput"
#: The steps of a path: names, indices (either may be several), or a slice.
STEP = re.compile(
    r"\.(?P<name>[\w-]+)"
    r"|\.?\[\s*(?P<names>'[^']*'(?:\s*,\s*'[^']*')*)\s*\]"
    r"|\[\s*(?P<indices>-?\d+(?:\s*,\s*-?\d+)*)\s*\]"
    r"|\[\s*(?P<start>-?\d*)\s*:\s*(?P<stop>-?\d*)\s*\]"
)


class Path:
    """A JSONPath of those operators that SageMaker documents. Raises Fault for any other."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._steps: list[re.Match[str]] = []
        at = 1
        while at < len(text) or text[:1] != "$":
            step = STEP.match(text, at) if text[:1] == "$" else None
            if step is None:
                raise invalid(f"The JSONPath {text} is invalid at {text[at - 1 :]!r} (B-11)")
            self._steps.append(step)
            at = step.end()

    def select(self, value: Any) -> Any:
        """What it selects. Raises Fault where there is no such thing."""
        for step in self._steps:
            try:
                value = _selected(value, step)
            except (LookupError, TypeError):
                raise Fault("ClientError", f"a record has nothing at {self.text}") from None
        return value


def _selected(value: Any, step: re.Match[str]) -> Any:
    if step["name"] is not None or step["names"]:
        if not isinstance(value, dict):
            raise TypeError
        names = re.findall(r"'([^']*)'", step["names"]) if step["names"] else [step["name"]]
        return value[names[0]] if len(names) == 1 else {name: value[name] for name in names}
    if not isinstance(value, list):
        raise TypeError
    if step["indices"]:
        indices = [int(index) for index in step["indices"].split(",")]
        return value[indices[0]] if len(indices) == 1 else [value[index] for index in indices]
    start, stop = (int(step[end]) if step[end] else None for end in ("start", "stop"))
    return value[start:stop]


class Processing:
    """What a job does to each record before and after the model. Raises Fault where AWS refuses the job."""

    def __init__(self, job: Mapping[str, Any]) -> None:
        asked, output = job["TransformInput"], job["TransformOutput"]
        given = job.get("DataProcessing", {})
        self._before, self._after = Path(given.get("InputFilter", "$")), Path(given.get("OutputFilter", "$"))
        self._joins = given.get("JoinSource", "None") == "Input"
        self._by_lines = asked.get("SplitType", "None") == "Line"
        self._kind = asked.get("ContentType", "").partition(";")[0].strip().lower()
        #: Whether it changes anything.
        self.active = self._joins or any(
            given.get(name, "$") != "$" for name in ("InputFilter", "OutputFilter")
        )
        if not self.active:
            return
        accept = output.get("Accept", "").partition(";")[0].strip().lower()
        if self._kind not in (CSV, JSON, JSON_LINES) or accept != self._kind:
            kinds = f"{CSV}, {JSON} and {JSON_LINES}"
            raise invalid(f"DataProcessing needs ContentType and Accept to be the same of {kinds} (B-11)")
        if asked.get("SplitType", "None") != output.get("AssembleWith", "None"):
            raise invalid("DataProcessing needs SplitType and AssembleWith to be the same (B-11)")

    def before(self, body: bytes) -> bytes:
        """What the model gets of these records."""
        return self._written([self._before.select(record) for record in self._read(body)])

    def after(self, body: bytes, answer: bytes) -> bytes:
        """What goes into the output for these records and the model's answers."""
        records, answers = self._read(body), self._read(answer)
        if len(records) != len(answers):
            text = f"the model gave {len(answers)} answers to {len(records)} records: they cannot be joined"
            raise Fault("AlgorithmError", f"{text} (B-10)")
        if self._joins:
            answers = [self._joined(*pair) for pair in zip(records, answers, strict=True)]
        return self._written([self._after.select(one) for one in answers])

    def _joined(self, record: Any, answer: Any) -> Any:
        if self._kind == CSV:
            return record + answer
        return {**(record if isinstance(record, dict) else {INPUT: record}), OUTPUT: answer}

    def _read(self, body: bytes) -> list[Any]:
        try:
            text = body.decode("utf-8-sig")
            if self._kind == CSV:
                return [row for row in csv.reader(io.StringIO(text, newline="")) if row]
            lines = text.splitlines() if self._by_lines or self._kind == JSON_LINES else [text]
            return [json.loads(line) for line in lines if line.strip()]
        except (ValueError, csv.Error) as error:
            raise Fault("ClientError", f"a record is not {self._kind}: {error}") from error

    def _written(self, records: list[Any]) -> bytes:
        if self._kind == CSV:
            text = io.StringIO(newline="")
            csv.writer(text, lineterminator="\n").writerows(
                record if isinstance(record, list) else [record] for record in records
            )
            return text.getvalue().encode()
        lines = [json.dumps(record, ensure_ascii=False, separators=(",", ":")) for record in records]
        return "".join(f"{line}\n" for line in lines).encode()
