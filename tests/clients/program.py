"""What programs in an SDK's own environment share: a step is called, and what came of it goes into a file.

Nothing of sagegen or its tests can be imported there.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

BUCKET = "the-bucket"
TRUST = {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
EVERYTHING = {"Effect": "Allow", "Action": "*", "Resource": "*"}


@dataclass(frozen=True)
class Given:
    """What the tests give: an image, the folder of its repository, and one to write to."""

    image: str
    repository: Path
    folder: Path
    port: int
    role: str = ""

    @property
    def data(self) -> Path:
        return self.repository / "local_test/opt_ml/input/data"

    @property
    def records(self) -> Path:
        return self.repository / "local_test/payloads/records.csv"

    def uploaded(self) -> str:
        """The channels' files in S3."""
        for file in self.data.rglob("*.csv"):
            boto3.client("s3").upload_file(str(file), BUCKET, f"data/{file.relative_to(self.data)}")
        return f"s3://{BUCKET}/data"


def main(*steps: Callable[[Given, dict[str, Any]], Any]) -> None:
    """Call the steps one after the other with what is given and what earlier ones returned."""
    given = Given(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), _account())
    returned: dict[str, Any] = {}
    for step in steps:
        begun = time.monotonic()
        log, raised = io.StringIO(), ""
        with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            try:
                returned[step.__name__] = step(given, returned)
            except Exception:
                raised = traceback.format_exc()
        seen = {
            "returned": returned.get(step.__name__),
            "raised": raised,
            "log": log.getvalue(),
            "seconds": round(time.monotonic() - begun, 1),
        }
        (given.folder / f"{step.__name__}.json").write_text(json.dumps(seen, default=str))


def _account() -> str:
    """A bucket, and a role that may do everything."""
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    iam = boto3.client("iam")
    role = iam.create_role(RoleName="sagemaker", AssumeRolePolicyDocument=policy(TRUST))
    iam.put_role_policy(RoleName="sagemaker", PolicyName="everything", PolicyDocument=policy(EVERYTHING))
    return str(role["Role"]["Arn"])


def policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
