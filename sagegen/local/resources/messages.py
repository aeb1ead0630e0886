"""Topics, queues, log groups and alarms of a stack."""

from __future__ import annotations

from sagegen.local.resources.kinds import (
    Calls,
    Kind,
    Made,
    Properties,
    as_dict,
    as_text,
    ask,
    remover,
    without,
)


def _make_topic(calls: Calls, given: Properties) -> Made:
    settings = {name: given[name] for name in ("DisplayName", "KmsMasterKeyId") if name in given}
    tags = {"Tags": given["Tags"]} if given.get("Tags") else {}
    arn = ask(calls, "sns", "CreateTopic", Name=given["TopicName"], Attributes=settings, **tags)["TopicArn"]
    for one in given.get("Subscription", ()):
        ask(calls, "sns", "Subscribe", TopicArn=arn, **one)
    return Made(arn, {"TopicName": given["TopicName"], "TopicArn": arn})


TOPIC = Kind(
    _make_topic,
    remover("sns", "DeleteTopic", "TopicArn"),
    frozenset(("TopicName", "DisplayName", "KmsMasterKeyId", "Subscription", "Tags")),
    name="TopicName",
    longest=256,
)


def _make_subscription(calls: Calls, given: Properties) -> Made:
    found = ask(calls, "sns", "Subscribe", ReturnSubscriptionArn=True, **given)
    return Made(found["SubscriptionArn"])


SUBSCRIPTION = Kind(
    _make_subscription,
    remover("sns", "Unsubscribe", "SubscriptionArn"),
    frozenset(("TopicArn", "Protocol", "Endpoint")),
)


def _make_queue(calls: Calls, given: Properties) -> Made:
    settings = {name: as_text(value) for name, value in without(given, "QueueName", "Tags").items()}
    tags = {"tags": as_dict(given["Tags"])} if given.get("Tags") else {}
    url = ask(calls, "sqs", "CreateQueue", QueueName=given["QueueName"], Attributes=settings, **tags)[
        "QueueUrl"
    ]
    return Made(
        url, {"Arn": calls.arn("sqs", given["QueueName"]), "QueueName": given["QueueName"], "QueueUrl": url}
    )


QUEUE = Kind(
    _make_queue,
    remover("sqs", "DeleteQueue", "QueueUrl"),
    frozenset(("QueueName", "VisibilityTimeout", "MessageRetentionPeriod", "DelaySeconds", "FifoQueue",
               "ReceiveMessageWaitTimeSeconds", "MaximumMessageSize", "Tags")),
    name="QueueName",
    longest=80,
)  # fmt: skip


def _make_log_group(calls: Calls, given: Properties) -> Made:
    name = given["LogGroupName"]
    tags = {"tags": as_dict(given["Tags"])} if given.get("Tags") else {}
    ask(calls, "logs", "CreateLogGroup", logGroupName=name, **tags)
    return Made(name, {"Arn": calls.arn("logs", f"log-group:{name}:*")})


def _change_log_group(calls: Calls, made: Made, old: Properties, given: Properties) -> Made:
    if days := given.get("RetentionInDays"):
        ask(calls, "logs", "PutRetentionPolicy", logGroupName=made.physical, retentionInDays=days)
    elif "RetentionInDays" in old:
        ask(calls, "logs", "DeleteRetentionPolicy", logGroupName=made.physical)
    return made


LOG_GROUP = Kind(
    _make_log_group,
    remover("logs", "DeleteLogGroup", "logGroupName"),
    frozenset(("LogGroupName", "RetentionInDays", "Tags")),
    _change_log_group,
    frozenset(("LogGroupName", "Tags")),
    "LogGroupName",
    _change_log_group,
    512,
)


def _make_alarm(calls: Calls, given: Properties) -> Made:
    ask(calls, "cloudwatch", "PutMetricAlarm", **given)
    return Made(given["AlarmName"], {"Arn": calls.arn("cloudwatch", f"alarm:{given['AlarmName']}")})


ALARM = Kind(
    _make_alarm,
    lambda calls, made, given: ask(calls, "cloudwatch", "DeleteAlarms", AlarmNames=[made.physical]),
    frozenset(("AlarmName", "AlarmDescription", "MetricName", "Namespace", "Statistic", "ExtendedStatistic",
               "Dimensions", "Period", "EvaluationPeriods", "DatapointsToAlarm", "Threshold", "Unit",
               "ComparisonOperator", "TreatMissingData", "AlarmActions", "OKActions", "ActionsEnabled",
               "InsufficientDataActions", "Metrics", "Tags")),
    lambda calls, made, old, given: _make_alarm(calls, given),
    frozenset(("AlarmName", "Tags")),
    "AlarmName",
    longest=255,
)  # fmt: skip
