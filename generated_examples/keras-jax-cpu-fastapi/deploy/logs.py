"""`logs`: the last lines that the endpoint or a job wrote."""

from argparse import Namespace

from deploy.calls import Aws


def run(aws: Aws, args: Namespace) -> str:
    """Print the last lines of what the ledger knows, or of one name."""
    name = args.name or aws.settings["name"]
    found = 0
    for group in (
        f"/aws/sagemaker/Endpoints/{name}",
        "/aws/sagemaker/TrainingJobs",
        "/aws/sagemaker/TransformJobs",
    ):
        prefix = "" if "Endpoints" in group else name
        for line in (lines := tail(aws, group, prefix, args.lines)):
            print(line)
        found += len(lines)
    return f"{found} lines of {name}"


def tail(aws: Aws, group: str, prefix: str, count: int) -> list[str]:
    """The last lines of the newest stream with this prefix; none if there is no log."""
    asked = {"logGroupName": group, **({"logStreamNamePrefix": prefix} if prefix else {})}
    streams = (aws.ask("logs", "describe_log_streams", **asked) or {}).get("logStreams", [])
    lines: list[str] = []
    if streams:
        name = max(streams, key=lambda one: one.get("lastEventTimestamp", one["creationTime"]))[
            "logStreamName"
        ]
        events = aws.ask("logs", "get_log_events", logGroupName=group, logStreamName=name, limit=count) or {}
        lines = [event["message"].rstrip() for event in events.get("events", ())]
    return lines
