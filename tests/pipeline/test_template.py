"""The pipeline's template: judged without AWS, and drawn as it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sagegen import machine_graph
from sagegen.render import render

HOSTING = ["realtime", "serverless", "async", "batch"]
REGIONS = ["us-east-1", "eu-central-1", "ap-southeast-2", "us-gov-west-1"]


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The rendered template of each way to ask for predictions."""
    folder = tmp_path_factory.mktemp("pipelines")
    for hosting in HOSTING:
        render(folder / hosting, {"deploy": "pipeline", "hosting": hosting})
    return {hosting: folder / hosting / "pipeline/template.yaml" for hosting in HOSTING}


def test_every_template_passes_cfn_lint_in_regions_of_each_kind(templates: dict[str, Path]) -> None:
    command = [Path(sys.executable).parent / "cfn-lint", "--regions", *REGIONS, "--", *templates.values()]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_task_is_retried_and_its_error_is_the_cause_of_the_failure(templates: dict[str, Path]) -> None:
    for template in templates.values():
        machine = machine_graph.definition(template.read_text())
        for name, state in machine["States"].items():
            if state["Type"] == "Task":
                assert state["Retry"], name
                assert state["Catch"][-1]["ErrorEquals"] == ["States.ALL"], name
                assert state["Catch"][-1]["Next"] in ("Failed", "Missing?"), name
            if state["Type"] == "Fail":
                assert state["CausePath"], name


def test_graphs_in_the_template_are_drawn_from_the_machine_as_it_is() -> None:
    for path, text in machine_graph.graphs():
        assert path.read_text() == text, f"run make examples: {path.name}"


def test_a_graph_has_every_state_and_every_way(templates: dict[str, Path]) -> None:
    machine = machine_graph.definition(templates["realtime"].read_text())
    states = machine["States"]
    targets = json.dumps(states).count('"Next": ') + json.dumps(states).count('"Default": ')
    assert len(list(machine_graph.edges(machine))) == targets
    drawn = machine_graph.svg(machine)
    assert drawn.count("<text ") == len(states) and drawn.count("<path d=") == targets + 1  # the arrow's head


def test_what_an_answer_rules_out_is_not_in_the_stack(templates: dict[str, Path]) -> None:
    text = {hosting: path.read_text() for hosting, path in templates.items()}
    assert "CreateEndpoint" not in text["batch"] and "HostingInstance" not in text["batch"]
    assert "AWS::ApiGateway" not in text["async"] and "AsyncInferenceConfig" in text["async"]
    assert "HostingInstance" not in text["serverless"] and "ServerlessConfig" in text["serverless"]
    assert "AWS::ApiGateway" in text["realtime"]
