"""`rollback`: serve again what served before."""

from argparse import Namespace

from deploy import scale
from deploy.calls import Aws
from deploy.deploy import serves, switch
from deploy.settings import Refusal


def run(aws: Aws, args: Namespace) -> str:
    """Update the endpoint to the configuration that was proven before the present one."""
    history = aws.ledger.facts.get("history", [])
    if len(history) < 2 or not (found := aws.settled_endpoint()):
        raise Refusal("there is nothing to go back to: no model was deployed before this one – 'make status'")
    if not serves(found, history[-2]):
        found = switch(aws, history[-2])
    if not aws.dry_run and not serves(found, history[-2]):
        raise Refusal(f"going back failed: {(found or {}).get('FailureReason', 'it is gone')} – 'make logs'")
    scale.restore(aws)
    aws.ledger.note(history=history[:-1])
    return f"rolled back: {aws.settings['name']} serves {history[-2]}"
