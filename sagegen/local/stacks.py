"""CloudFormation, as far as moto does what it says: stacks of a few types, made in one call."""

from __future__ import annotations

import re
from urllib.parse import parse_qs

from sagegen.local.front import Request
from sagegen.local.wire import Answer, not_emulated

#: Types that moto makes as their own service would.
TYPES = {"AWS::S3::Bucket", "AWS::ECR::Repository", "AWS::IAM::Role", "AWS::IAM::ManagedPolicy",
         "AWS::IAM::Policy", "AWS::SNS::Topic", "AWS::SQS::Queue", "AWS::Logs::LogGroup"}  # fmt: skip
TYPE = re.compile(r"""["']?Type["']?\s*:\s*["']?((?:AWS|Custom)::[\w:]+)""")
#: An update leaves the policies of roles as they were, and a change set makes a stack without outputs.
CALLS = {"CreateStack", "DeleteStack", "DescribeStacks", "DescribeStackEvents", "DescribeStackResource",
         "DescribeStackResources", "GetTemplate", "ListStackResources", "ListStacks"}  # fmt: skip


def route(request: Request) -> Answer | None:
    """Refuse what moto would only pretend; None for the rest, which is moto's."""
    if request.service != "cloudformation":
        return None
    given = parse_qs(request.reread().decode(errors="replace"))
    action = given.get("Action", [""])[0]
    request.call.operation = action
    if action not in CALLS:
        raise not_emulated(f"cloudformation:{action}")
    if action == "CreateStack":
        if "TemplateBody" not in given:
            raise not_emulated("CreateStack without TemplateBody")
        for kind in TYPE.findall(given["TemplateBody"][0]):
            if kind not in TYPES:
                raise not_emulated(f"{kind} in a stack")
    return None
