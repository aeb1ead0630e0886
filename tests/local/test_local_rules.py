"""Rules of EventBridge that wait for events."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from emulators import ACCOUNT, Emulator, role, wait

from sagegen.local.patterns import check, given, matches

EVENT = {"source": "aws.s3", "detail": {"bucket": {"name": "b"}, "object": {"key": "in/a.csv", "size": 7}}}


@pytest.mark.parametrize(
    "detail, fits",
    [
        ({"bucket": {"name": ["b", "c"]}}, True),
        ({"bucket": {"name": ["c"]}}, False),
        ({"object": {"key": [{"prefix": "in/"}]}}, True),
        ({"object": {"key": [{"suffix": ".json"}, {"suffix": ".csv"}]}}, True),
        ({"object": {"key": [{"wildcard": "in/*.csv"}]}}, True),
        ({"object": {"key": [{"anything-but": {"prefix": "in/"}}]}}, False),
        ({"object": {"size": [{"numeric": [">", 5, "<=", 7]}]}}, True),
        ({"object": {"size": ["7"]}}, False),
        ({"object": {"version": [{"exists": False}]}}, True),
        ({"reason": [{"exists": True}]}, False),
        ({"$or": [{"object": {"size": [1]}}, {"bucket": {"name": [{"equals-ignore-case": "B"}]}}]}, True),
    ],
)
def test_a_pattern_fits_events_that_have_its_values(detail: dict[str, Any], fits: bool) -> None:
    pattern = {"source": ["aws.s3"], "detail": detail}
    check(pattern)
    assert matches(pattern, EVENT) is fits


def test_a_target_gets_what_its_transformer_makes_of_the_event() -> None:
    transformer = {
        "InputPathsMap": {"key": "$.detail.object.key", "size": "$.detail.object.size"},
        "InputTemplate": '{"data": "s3://b/<key>", "size": <size>, "key": <key>}',
    }
    text = given({"InputTransformer": transformer}, EVENT)
    assert json.loads(text) == {"data": "s3://b/in/a.csv", "size": 7, "key": "in/a.csv"}
    assert json.loads(given({"InputPath": "$.detail.bucket"}, EVENT)) == {"name": "b"}


def test_an_object_that_comes_starts_a_state_machine(local: Emulator) -> None:
    arn = role(local, "started", "states.amazonaws.com", "states:*")
    starter = role(local, "starter", "events.amazonaws.com", "states:StartExecution")
    states, events, s3 = (local.client(name) for name in ("stepfunctions", "events", "s3"))
    definition = json.dumps({"StartAt": "End", "States": {"End": {"Type": "Succeed"}}})
    machine = states.create_state_machine(name="started", roleArn=arn, definition=definition)[
        "stateMachineArn"
    ]
    s3.create_bucket(Bucket="watched")
    pattern = {
        "source": ["aws.s3"],
        "detail-type": ["Object Created"],
        "detail": {"bucket": {"name": ["watched"]}, "object": {"key": [{"prefix": "in/"}]}},
    }
    events.put_rule(Name="new-data", EventPattern=json.dumps(pattern))
    transformer = {
        "InputPathsMap": {"bucket": "$.detail.bucket.name", "key": "$.detail.object.key"},
        "InputTemplate": '{"data": "s3://<bucket>/<key>"}',
    }
    target = {"Id": "1", "Arn": machine, "RoleArn": starter, "InputTransformer": transformer}
    events.put_targets(Rule="new-data", Targets=[target])
    inputs = lambda: [  # noqa: E731
        json.loads(states.describe_execution(executionArn=one["executionArn"])["input"])
        for one in states.list_executions(stateMachineArn=machine)["executions"]
    ]
    s3.put_object(Bucket="watched", Key="in/silent", Body=b"1")  # the bucket does not tell yet
    s3.put_bucket_notification_configuration(
        Bucket="watched", NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    s3.put_object(Bucket="watched", Key="out/x", Body=b"1")
    s3.put_object(Bucket="watched", Key="in/ä %41", Body=b"1")
    assert wait(inputs) == [{"data": "s3://watched/in/ä %41"}]
    mine = {"Source": "aws.s3", "DetailType": "Object Created"}
    detail = {"bucket": {"name": "watched"}, "object": {"key": "in/told"}}
    events.put_events(Entries=[{**mine, "Detail": json.dumps(detail)}])
    assert wait(lambda: {"data": "s3://watched/in/told"} in inputs())
    assert len(inputs()) == 2


def test_a_rule_that_would_start_nothing_is_refused(local: Emulator) -> None:
    events = local.client("events")
    with pytest.raises(ClientError, match="a filter that is not emulated"):
        events.put_rule(Name="odd", EventPattern=json.dumps({"source": [{"cidr": "10.0.0.0/24"}]}))
    with pytest.raises(ClientError, match="must be an object or an array"):
        events.put_rule(Name="odd", EventPattern=json.dumps({"source": "aws.s3"}))
    events.put_rule(Name="to-nowhere", EventPattern=json.dumps({"source": ["aws.s3"]}))
    for arn, words in (
        (f"arn:aws:kinesis:us-east-1:{ACCOUNT}:stream/s", "not emulated: .* as target of a rule"),
        (f"arn:aws:states:us-east-1:{ACCOUNT}:stateMachine:m", "RoleArn is required"),
    ):
        with pytest.raises(ClientError, match=words):
            events.put_targets(Rule="to-nowhere", Targets=[{"Id": "1", "Arn": arn}])
