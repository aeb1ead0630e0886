"""`status`: what is there, in which state, and what an hour of it costs."""

from argparse import Namespace

from deploy.calls import Aws


def run(aws: Aws, args: Namespace) -> str:
    """Print the ledger and what AWS says of the endpoint."""
    for what in aws.ledger.entries:
        print(what)
    found = aws.endpoint() if aws.ledger.entries else None
    if not found:
        return f"{len(aws.ledger.entries)} things are there, and no endpoint: nothing costs by the hour"
    state = f"{found['EndpointStatus']} {found.get('FailureReason', '')}".rstrip()
    print(f"endpoint {found['EndpointName']}: {state}")
    cost = ""
    for variant in found.get("ProductionVariants", ()):
        count, kind = variant.get("CurrentInstanceCount"), aws.settings["hosting"]["instance_type"]
        if count and (price := aws.settings["prices"].get(kind)):
            cost = f", {price * count:.2f} an hour for {count} {kind}"
    return f"{found['EndpointName']} serves {found['EndpointConfigName']}{cost}"
