"""CloudFormation stacks that make what a deployment needs."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError
from emulators import TRUST, Emulator

ROLE = {"Version": "2012-10-17", "Statement": [TRUST]}
TEMPLATE = {
    "Resources": {
        "Data": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "stack-data"}},
        "Images": {"Type": "AWS::ECR::Repository", "Properties": {"RepositoryName": "stack-images"}},
        "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": ROLE}},
    },
    "Outputs": {"Role": {"Value": {"Fn::GetAtt": ["Role", "Arn"]}}},
}


def test_a_stack_makes_resources_that_its_services_know(local: Emulator) -> None:
    stacks = local.client("cloudformation")
    text = json.dumps(TEMPLATE)
    stacks.create_stack(StackName="needs", TemplateBody=text, Capabilities=["CAPABILITY_IAM"])
    (stack,) = stacks.describe_stacks(StackName="needs")["Stacks"]
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    local.client("s3").put_object(Bucket="stack-data", Key="x", Body=b"")
    assert local.client("ecr").describe_repositories(repositoryNames=["stack-images"])["repositories"]
    name = stack["Outputs"][0]["OutputValue"].rpartition("/")[2]
    assert local.client("iam").get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"] == ROLE


def test_a_stack_with_a_type_that_would_only_be_pretended_is_refused(local: Emulator) -> None:
    pretended = {"Resources": {"E": {"Type": "AWS::SageMaker::Endpoint", "Properties": {}}}}
    stacks = local.client("cloudformation")
    with pytest.raises(ClientError, match="not emulated: AWS::SageMaker::Endpoint in a stack"):
        stacks.create_stack(StackName="no", TemplateBody=json.dumps(pretended))
    with pytest.raises(ClientError, match="not emulated: cloudformation:UpdateStack"):
        stacks.update_stack(StackName="needs", TemplateBody=json.dumps(TEMPLATE))
