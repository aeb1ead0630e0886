"""CloudFormation stacks that make what a deployment needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from emulators import ROLE, TRUST, Emulator, role, wait

TRUSTED = {"Version": "2012-10-17", "Statement": [TRUST]}
TEMPLATE = """
Parameters:
  Owner: {Type: String, AllowedPattern: "[a-z]+", Default: nobody}
  Days: {Type: Number, Default: 7}
  Second: {Type: String, AllowedValues: ["yes", "no"], Default: "no"}
Conditions:
  Two: !Equals [!Ref Second, "yes"]
Resources:
  Data: {Type: AWS::S3::Bucket, Properties: {BucketName: !Sub "data-of-${Owner}"}}
  More: {Type: AWS::S3::Bucket, Condition: Two}
  Logs:
    Type: AWS::Logs::LogGroup
    Properties: {LogGroupName: !Sub "/of/${Owner}", RetentionInDays: !Ref Days}
  Images: {Type: AWS::ECR::Repository, Properties: {RepositoryName: !Ref Owner}}
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: 2012-10-17
        Statement: {Effect: Allow, Principal: {Service: sagemaker.amazonaws.com}, Action: "sts:AssumeRole"}
      Policies:
        - PolicyName: data
          PolicyDocument:
            Version: 2012-10-17
            Statement: {Effect: Allow, Action: ["s3:GetObject"], Resource: !Sub "${Data.Arn}/*"}
Outputs:
  Role: {Value: !GetAtt Role.Arn}
  Images: {Value: !GetAtt Images.RepositoryUri}
  Both: {Value: !Join ["-", [!Ref Data, !If [Two, two, one], !Ref "AWS::Region"]]}
"""


def told(local: Emulator, name: str) -> dict[str, Any]:
    """A stack that does not change any more."""
    stacks = local.client("cloudformation")

    def ended() -> Any:
        (found,) = stacks.describe_stacks(StackName=name)["Stacks"]
        return None if found["StackStatus"].endswith("_IN_PROGRESS") else found

    found: dict[str, Any] = wait(ended)
    return {**found, "Outputs": {one["OutputKey"]: one["OutputValue"] for one in found.get("Outputs", ())}}


def reasons(local: Emulator, name: str) -> str:
    """What its events say, oldest first."""
    events = local.client("cloudformation").describe_stack_events(StackName=name)["StackEvents"]
    return "\n".join(one.get("ResourceStatusReason", "") for one in reversed(events))


def create(local: Emulator, name: str, template: Any, **more: Any) -> dict[str, Any]:
    """A stack from a template; what became of it."""
    text = template if isinstance(template, str) else json.dumps(template)
    more.setdefault("Capabilities", ["CAPABILITY_NAMED_IAM"])
    local.client("cloudformation").create_stack(StackName=name, TemplateBody=text, **more)
    return told(local, name)


def parameters(**values: str) -> list[dict[str, str]]:
    return [{"ParameterKey": key, "ParameterValue": value} for key, value in values.items()]


def test_the_cli_deploys_a_template_and_its_changes(local: Emulator, tmp_path: Path) -> None:
    file = tmp_path / "template.yaml"
    file.write_text(TEMPLATE)
    words = ["cloudformation", "deploy", "--stack-name", "cli", "--template-file", str(file)]
    done = local.aws(*words, "--capabilities", "CAPABILITY_IAM", "--parameter-overrides", "Owner=cli")
    assert done.returncode == 0, done.stderr
    stack = told(local, "cli")
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    assert stack["Outputs"]["Both"] == "data-of-cli-one-us-east-1"
    role = stack["Outputs"]["Role"].rpartition("/")[2]
    iam = local.client("iam")
    assert iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]["Version"] == "2012-10-17"

    again = local.aws(*words, "--capabilities", "CAPABILITY_IAM", "--no-fail-on-empty-changeset")
    assert "No changes to deploy" in again.stdout + again.stderr and again.returncode == 0

    file.write_text(TEMPLATE.replace('"s3:GetObject"', '"s3:PutObject"').replace('Sub "/of', 'Sub "/from'))
    changed = local.aws(*words, "--capabilities", "CAPABILITY_IAM", "--parameter-overrides", "Second=yes")
    assert changed.returncode == 0, changed.stderr
    stack = told(local, "cli")
    assert stack["StackStatus"] == "UPDATE_COMPLETE"
    assert stack["Outputs"]["Both"] == "data-of-cli-two-us-east-1"
    policy = iam.get_role_policy(RoleName=role, PolicyName="data")["PolicyDocument"]
    assert policy["Statement"]["Action"] == ["s3:PutObject"]
    groups = local.client("logs").describe_log_groups()["logGroups"]
    (group,) = [one for one in groups if one["logGroupName"].endswith("/cli")]
    assert (group["logGroupName"], group["retentionInDays"]) == ("/from/cli", 7)

    deleted = local.aws("cloudformation", "delete-stack", "--stack-name", "cli")
    assert deleted.returncode == 0, deleted.stderr
    with pytest.raises(ClientError, match="does not exist"):
        wait(lambda: local.client("cloudformation").describe_stacks(StackName="cli") and None, 10)
    with pytest.raises(ClientError, match="NoSuchEntity"):
        iam.get_role(RoleName=role)


def test_a_stack_that_cannot_be_made_leaves_nothing(local: Emulator) -> None:
    model = {"ModelName": "of-a-stack", "PrimaryContainer": {"Image": "no-such-image"}}
    template = {
        "Resources": {
            "Data": {
                "Type": "AWS::S3::Bucket",
                "DeletionPolicy": "Retain",
                "Properties": {"BucketName": "left"},
            },
            "Model": {"Type": "AWS::SageMaker::Model", "DependsOn": "Data", "Properties": model},
        }
    }
    stack = create(local, "broken", template)
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "Requested image no-such-image not found." in reasons(local, "broken")
    assert "left" not in [one["Name"] for one in local.client("s3").list_buckets()["Buckets"]]
    with pytest.raises(ClientError, match="is in ROLLBACK_COMPLETE state and can not be updated"):
        local.client("cloudformation").update_stack(StackName="broken", TemplateBody=json.dumps(template))


def test_an_update_that_fails_is_taken_back(local: Emulator) -> None:
    stacks = local.client("cloudformation")
    create(local, "careful", TEMPLATE, Parameters=parameters(Owner="careful"))
    model = "{Type: AWS::SageMaker::Model, Properties: {PrimaryContainer: {Image: none}}"
    more = f"\n  Last: {model}, DependsOn: [Logs, Images, Role]}}"
    changed = (
        TEMPLATE.replace("s3:GetObject", "s3:*")
        .replace("Days}", "Days}")
        .replace("\nOutputs", more + "\nOutputs")
    )
    update = {"StackName": "careful", "Capabilities": ["CAPABILITY_NAMED_IAM"]}
    stacks.update_stack(
        TemplateBody=changed, Parameters=parameters(Owner="careful", Days="30", Second="yes"), **update
    )
    stack = told(local, "careful")
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert "Requested image none not found." in reasons(local, "careful")
    role = stack["Outputs"]["Role"].rpartition("/")[2]
    policy = local.client("iam").get_role_policy(RoleName=role, PolicyName="data")["PolicyDocument"]
    assert policy["Statement"]["Action"] == ["s3:GetObject"]
    groups = local.client("logs").describe_log_groups(logGroupNamePrefix="/of/careful")["logGroups"]
    assert groups[0]["retentionInDays"] == 7
    names = [
        one["LogicalResourceId"]
        for one in stacks.list_stack_resources(StackName="careful")["StackResourceSummaries"]
    ]
    assert sorted(names) == ["Data", "Images", "Logs", "Role"]
    with pytest.raises(ClientError, match="No updates are to be performed"):
        stacks.update_stack(
            UsePreviousTemplate=True,
            Parameters=[{"ParameterKey": "Owner", "UsePreviousValue": True}],
            **update,
        )


def test_a_stack_may_do_what_its_role_may(local: Emulator) -> None:
    narrow = role(local, "stack-role", "cloudformation.amazonaws.com", "s3:*")
    queue = {"Type": "AWS::SQS::Queue", "DependsOn": "Data"}
    template = {"Resources": {"Data": {"Type": "AWS::S3::Bucket"}, "Queue": queue}}
    assert create(local, "narrow", template, RoleARN=narrow)["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "is not authorized to perform: sqs:CreateQueue" in reasons(local, "narrow")
    assert not [one for one in local.client("s3").list_buckets()["Buckets"] if "narrow" in one["Name"]]
    with pytest.raises(ClientError, match="Could not assume role"):
        create(local, "untrusted", template, RoleARN=ROLE)


def test_a_bucket_with_objects_keeps_its_stack(local: Emulator) -> None:
    template = {"Resources": {"Data": {"Type": "AWS::S3::Bucket", "Properties": {"BucketName": "filled"}}}}
    create(local, "filled", template)
    local.client("s3").put_object(Bucket="filled", Key="x", Body=b"")
    stacks = local.client("cloudformation")
    stacks.delete_stack(StackName="filled")
    assert told(local, "filled")["StackStatus"] == "DELETE_FAILED"
    assert "not empty" in reasons(local, "filled")
    local.client("s3").delete_object(Bucket="filled", Key="x")
    stacks.delete_stack(StackName="filled")
    with pytest.raises(ClientError, match="Stack with id filled does not exist"):
        wait(lambda: stacks.describe_stacks(StackName="filled") and None, 10)


def test_an_endpoint_of_a_stack_serves_when_the_stack_is_complete(local: Emulator, image: str) -> None:
    def template(environment: dict[str, str]) -> dict[str, Any]:
        variant = {"VariantName": "all", "InitialVariantWeight": 1.0,
                   "ModelName": {"Fn::GetAtt": ["Model", "ModelName"]},
                   "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}  # fmt: skip
        container = {"Image": image, "Environment": environment}
        config = {"Fn::GetAtt": ["Config", "EndpointConfigName"]}
        return {
            "Resources": {
                "Model": {"Type": "AWS::SageMaker::Model", "Properties": {"PrimaryContainer": container}},
                "Config": {
                    "Type": "AWS::SageMaker::EndpointConfig",
                    "Properties": {"ProductionVariants": [variant]},
                },
                "Endpoint": {
                    "Type": "AWS::SageMaker::Endpoint",
                    "Properties": {"EndpointName": "stacked", "EndpointConfigName": config},
                },
                "Target": {
                    "Type": "AWS::ApplicationAutoScaling::ScalableTarget",
                    "DependsOn": "Endpoint",
                    "Properties": {
                        "ServiceNamespace": "sagemaker", "MinCapacity": 1, "MaxCapacity": "2",
                        "ResourceId": "endpoint/stacked/variant/all",
                        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
                    },
                },
            }
        }  # fmt: skip

    assert create(local, "serving", template({}))["StackStatus"] == "CREATE_COMPLETE"
    runtime = local.client("sagemaker-runtime")
    assert runtime.invoke_endpoint(EndpointName="stacked", Body=b"abc")["Body"].read() == b"ABC"
    stacks = local.client("cloudformation")
    stacks.update_stack(StackName="serving", TemplateBody=json.dumps(template({"START": "never"})))
    assert told(local, "serving")["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert "did not pass the ping health check" in reasons(local, "serving")
    assert runtime.invoke_endpoint(EndpointName="stacked", Body=b"abc")["Body"].read() == b"ABC"
    assert len(local.client("sagemaker").list_models(NameContains="serving-")["Models"]) == 1
    stacks.delete_stack(StackName="serving")
    wait(lambda: not local.client("sagemaker").list_endpoints(NameContains="stacked")["Endpoints"])


@pytest.mark.parametrize(
    "resource, words",
    [
        ({"Type": "AWS::Glue::Job"}, "not emulated: AWS::Glue::Job in a stack"),
        ({"Type": "AWS::S3::Bucket", "Properties": {"WebsiteConfiguration": {}}}, "WebsiteConfig"),
        ({"Type": "AWS::S3::Bucket", "CreationPolicy": {}}, "not emulated: CreationPolicy of a resource"),
        ({"Type": "AWS::S3::Bucket", "Properties": {"BucketName": {"Ref": "Nobody"}}}, "Nobody"),
        ({"Type": "AWS::S3::Bucket", "DependsOn": "Thing"}, "Circular dependency"),
        ({"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": TRUSTED}}, "CAPABILITY_IAM"),
    ],
)  # fmt: skip
def test_what_a_stack_cannot_have_is_refused_before_anything_is_made(
    local: Emulator, resource: dict[str, Any], words: str
) -> None:
    stacks = local.client("cloudformation")
    with pytest.raises(ClientError, match=words):
        stacks.create_stack(StackName="no", TemplateBody=json.dumps({"Resources": {"Thing": resource}}))
    with pytest.raises(ClientError, match="does not exist"):
        stacks.describe_stacks(StackName="no")
