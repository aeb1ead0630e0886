"""The types of resources that stacks have: each is made, changed and removed by its own service's calls."""

from sagegen.local.resources import functions, iam, machines, messages, sagemaker, storage
from sagegen.local.resources.kinds import Kind

KINDS: dict[str, Kind] = {
    "AWS::S3::Bucket": storage.BUCKET,
    "AWS::S3::BucketPolicy": storage.BUCKET_POLICY,
    "AWS::ECR::Repository": storage.REPOSITORY,
    "AWS::IAM::Role": iam.ROLE,
    "AWS::IAM::Policy": iam.POLICY,
    "AWS::IAM::ManagedPolicy": iam.MANAGED_POLICY,
    "AWS::SageMaker::Model": sagemaker.MODEL,
    "AWS::SageMaker::EndpointConfig": sagemaker.ENDPOINT_CONFIG,
    "AWS::SageMaker::Endpoint": sagemaker.ENDPOINT,
    "AWS::CodeBuild::Project": machines.PROJECT,
    "AWS::StepFunctions::StateMachine": machines.MACHINE,
    "AWS::Lambda::Function": functions.FUNCTION,
    "AWS::Lambda::Permission": functions.PERMISSION,
    "AWS::ApiGateway::RestApi": functions.API,
    "AWS::ApiGateway::Resource": functions.PATH,
    "AWS::ApiGateway::Method": functions.METHOD,
    "AWS::ApiGateway::Deployment": functions.DEPLOYMENT,
    "AWS::ApiGateway::Stage": functions.STAGE,
    "AWS::ApplicationAutoScaling::ScalableTarget": sagemaker.SCALABLE_TARGET,
    "AWS::ApplicationAutoScaling::ScalingPolicy": sagemaker.SCALING_POLICY,
    "AWS::SNS::Topic": messages.TOPIC,
    "AWS::SNS::Subscription": messages.SUBSCRIPTION,
    "AWS::SQS::Queue": messages.QUEUE,
    "AWS::Logs::LogGroup": messages.LOG_GROUP,
    "AWS::Events::Rule": machines.RULE,
    "AWS::CloudWatch::Alarm": messages.ALARM,
}
#: A stack with one of these must say CAPABILITY_IAM, or CAPABILITY_NAMED_IAM where it names it.
IDENTITIES = {
    "AWS::IAM::Role": "RoleName",
    "AWS::IAM::ManagedPolicy": "ManagedPolicyName",
    "AWS::IAM::Policy": "",
}
