"""Every service of the account, put behind the front."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sagegen.local import logs
from sagegen.local.asynchronous import Asynchronous
from sagegen.local.autoscaling import Autoscaling
from sagegen.local.cloud import Cloud
from sagegen.local.codebuild import CodeBuild
from sagegen.local.front import Front
from sagegen.local.gateway import Gateway
from sagegen.local.hosting import Hosting
from sagegen.local.images import Images
from sagegen.local.invocations import Invocations
from sagegen.local.lambdas import Lambda
from sagegen.local.machines import StepFunctions
from sagegen.local.models import Models
from sagegen.local.page import Page
from sagegen.local.processes import Processes
from sagegen.local.registry import Registry
from sagegen.local.rules import Rules
from sagegen.local.stacks import Stacks
from sagegen.local.training import Training
from sagegen.local.transform import Transform
from sagegen.local.tuning import Tuning


class Account:
    """What the emulator has; pushed images lie in `folder`."""

    def __init__(self, cloud: Cloud, front: Front, folder: Path) -> None:
        self.cloud = cloud
        self.registry = Registry(cloud, folder)
        self.images = Images(self.registry)
        self.training = Training(cloud, self.images)
        self.models = Models(cloud, self.images)
        self.hosting = Hosting(cloud, self.models)
        self.tuning = Tuning(cloud, self.training)
        self.transform = Transform(cloud, self.models)
        self.stacks = Stacks(cloud)
        self.processes = Processes(folder, cloud.lab.memory)
        self.codebuild = CodeBuild(cloud, self.processes)
        self.functions = Lambda(cloud, self.processes)
        self.machines = StepFunctions(cloud, front.policies)
        rules = Rules(cloud)
        front.after.append(rules.after)
        gateway = Gateway(cloud, self.functions, front.policies)
        front.services["codebuild"] = self.codebuild.handlers
        front.services["stepfunctions"] = self.machines.handlers
        front.services["application-autoscaling"] = Autoscaling(self.hosting).handlers
        front.services["events"] = {"PutEvents": rules.put_events}
        front.services["ecr"] = {"GetAuthorizationToken": self.registry.token}
        front.open += [self.registry.route, gateway.route, Page(self, front).route]
        front.signed += [
            self.stacks.route,
            self.functions.route,
            gateway.records,
            rules.route,
            logs.route,
            Asynchronous(self.hosting).route,
            Invocations(self.hosting).route,
        ]
        front.services["sagemaker"] = {
            **self.training.handlers,
            **self.models.handlers,
            **self.hosting.handlers,
            **self.transform.handlers,
            **self.tuning.handlers,
            "AddTags": self._add_tags,
            "ListTags": self._list_tags,
            "DeleteTags": self._delete_tags,
        }

    def close(self) -> None:
        """End the processes of builds and functions."""
        self.processes.close()

    def _add_tags(self, given: dict[str, Any]) -> dict[str, Any]:
        self.cloud.tag(given["ResourceArn"], given)
        return self._list_tags(given)

    def _list_tags(self, given: dict[str, Any]) -> dict[str, Any]:
        found = self.cloud.tags.get(given["ResourceArn"], {})
        return {"Tags": [{"Key": key, "Value": value} for key, value in found.items()]}

    def _delete_tags(self, given: dict[str, Any]) -> None:
        for key in given["TagKeys"]:
            self.cloud.tags.get(given["ResourceArn"], {}).pop(key, None)
