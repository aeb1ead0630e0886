"""Buckets and image repositories of a stack."""

from __future__ import annotations

from contextlib import suppress

from botocore.exceptions import ClientError

from sagegen.local.resources.kinds import Calls, Kind, Made, Properties, as_text, ask, remover, without
from sagegen.local.wire import Fault, not_emulated


def _make_bucket(calls: Calls, given: Properties) -> Made:
    name = given["BucketName"]
    place = {} if calls.region == "us-east-1" else {"LocationConstraint": calls.region}
    if not place:
        # us-east-1 alone answers success for a bucket that the caller has.
        with suppress(ClientError):
            ask(calls, "s3", "HeadBucket", Bucket=name)
            raise Fault("AlreadyExists", f"{name} already exists")
    ask(calls, "s3", "CreateBucket", Bucket=name, **({"CreateBucketConfiguration": place} if place else {}))
    host = f"{name}.s3.amazonaws.com"
    return Made(
        name,
        {
            "Arn": f"arn:aws:s3:::{name}",
            "DomainName": host,
            "RegionalDomainName": host.replace(".s3.", f".s3.{calls.region}."),
        },
    )


def _change_bucket(calls: Calls, made: Made, old: Properties, given: Properties) -> Made:
    bucket = made.physical
    if access := given.get("PublicAccessBlockConfiguration"):
        ask(calls, "s3", "PutPublicAccessBlock", Bucket=bucket, PublicAccessBlockConfiguration=access)
    if encryption := given.get("BucketEncryption"):
        rules = [
            {
                "ApplyServerSideEncryptionByDefault": rule["ServerSideEncryptionByDefault"],
                **without(rule, "ServerSideEncryptionByDefault"),
            }
            for rule in encryption["ServerSideEncryptionConfiguration"]
        ]
        ask(
            calls,
            "s3",
            "PutBucketEncryption",
            Bucket=bucket,
            ServerSideEncryptionConfiguration={"Rules": rules},
        )
    if versioning := given.get("VersioningConfiguration"):
        ask(calls, "s3", "PutBucketVersioning", Bucket=bucket, VersioningConfiguration=versioning)
    if ownership := given.get("OwnershipControls"):
        ask(calls, "s3", "PutBucketOwnershipControls", Bucket=bucket, OwnershipControls=ownership)
    if lifecycle := given.get("LifecycleConfiguration"):
        rules = [_expiry(rule) for rule in lifecycle["Rules"]]
        configuration = {"Rules": rules}
        ask(
            calls,
            "s3",
            "PutBucketLifecycleConfiguration",
            Bucket=bucket,
            LifecycleConfiguration=configuration,
        )
    if notification := given.get("NotificationConfiguration"):
        if set(notification) - {"EventBridgeConfiguration"}:
            raise not_emulated("notifications of a bucket other than EventBridgeConfiguration")
        ask(
            calls,
            "s3",
            "PutBucketNotificationConfiguration",
            Bucket=bucket,
            NotificationConfiguration={"EventBridgeConfiguration": {}},
        )
    if tags := given.get("Tags"):
        ask(calls, "s3", "PutBucketTagging", Bucket=bucket, Tagging={"TagSet": tags})
    return made


def _expiry(rule: Properties) -> Properties:
    """A rule of a template as the API has it."""
    found = without(rule, "Id", "Prefix", "ExpirationInDays", "NoncurrentVersionExpirationInDays")
    found["Filter"] = {"Prefix": rule.get("Prefix", "")}
    if "Id" in rule:
        found["ID"] = rule["Id"]
    if days := rule.get("ExpirationInDays"):
        found["Expiration"] = {"Days": days}
    if days := rule.get("NoncurrentVersionExpirationInDays"):
        found["NoncurrentVersionExpiration"] = {"NoncurrentDays": days}
    return found


BUCKET = Kind(
    _make_bucket,
    remover("s3", "DeleteBucket", "Bucket"),
    frozenset(("BucketName", "PublicAccessBlockConfiguration", "BucketEncryption", "VersioningConfiguration",
               "OwnershipControls", "LifecycleConfiguration", "NotificationConfiguration", "Tags")),
    _change_bucket,
    frozenset(("BucketName",)),
    "BucketName",
    _change_bucket,
    lower=True,
)  # fmt: skip


def _bucket_policy(calls: Calls, given: Properties) -> Made:
    ask(calls, "s3", "PutBucketPolicy", Bucket=given["Bucket"], Policy=as_text(given["PolicyDocument"]))
    return Made(given["Bucket"])


BUCKET_POLICY = Kind(
    _bucket_policy,
    remover("s3", "DeleteBucketPolicy", "Bucket"),
    frozenset(("Bucket", "PolicyDocument")),
    lambda calls, made, old, given: _bucket_policy(calls, given),
    frozenset(("Bucket",)),
)


def _make_repository(calls: Calls, given: Properties) -> Made:
    plain = without(given, "LifecyclePolicy", "RepositoryPolicyText", "EmptyOnDelete")
    found = ask(calls, "ecr", "CreateRepository", **plain)["repository"]
    return Made(
        found["repositoryName"], {"Arn": found["repositoryArn"], "RepositoryUri": found["repositoryUri"]}
    )


def _change_repository(calls: Calls, made: Made, old: Properties, given: Properties) -> Made:
    name = made.physical
    if old:
        if (kind := given.get("ImageTagMutability", "MUTABLE")) != old.get("ImageTagMutability", "MUTABLE"):
            ask(calls, "ecr", "PutImageTagMutability", repositoryName=name, imageTagMutability=kind)
        if scan := given.get("ImageScanningConfiguration"):
            ask(
                calls,
                "ecr",
                "PutImageScanningConfiguration",
                repositoryName=name,
                imageScanningConfiguration=scan,
            )
    if policy := given.get("LifecyclePolicy"):
        text = policy["LifecyclePolicyText"]
        ask(calls, "ecr", "PutLifecyclePolicy", repositoryName=name, lifecyclePolicyText=text)
    elif "LifecyclePolicy" in old:
        ask(calls, "ecr", "DeleteLifecyclePolicy", repositoryName=name)
    if text := given.get("RepositoryPolicyText"):
        ask(calls, "ecr", "SetRepositoryPolicy", repositoryName=name, policyText=as_text(text))
    elif "RepositoryPolicyText" in old:
        ask(calls, "ecr", "DeleteRepositoryPolicy", repositoryName=name)
    return made


def _remove_repository(calls: Calls, made: Made, given: Properties) -> None:
    force = str(given.get("EmptyOnDelete", "false")).lower() == "true"
    ask(calls, "ecr", "DeleteRepository", repositoryName=made.physical, force=force)


REPOSITORY = Kind(
    _make_repository,
    _remove_repository,
    frozenset(("RepositoryName", "ImageScanningConfiguration", "ImageTagMutability", "LifecyclePolicy",
               "RepositoryPolicyText", "EmptyOnDelete", "EncryptionConfiguration", "Tags")),
    _change_repository,
    frozenset(("RepositoryName", "EncryptionConfiguration")),
    "RepositoryName",
    _change_repository,
    256,
    lower=True,
)  # fmt: skip
