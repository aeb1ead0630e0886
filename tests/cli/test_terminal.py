"""`sagegen new` in a real pseudo-terminal: keys typed, prompts read."""

from __future__ import annotations

import pytest
import yaml
from cli_tools import ARROW_DOWN, ARROW_UP, CTRL_C, CTRL_D, ENTER


def answer_the_first_questions(terminal) -> None:
    for prompt in ("Name of the repository", "One sentence", "What a request carries"):
        terminal.sees(prompt)
        terminal.types(ENTER)


def test_a_whole_conversation(terminal, here):
    it = terminal("new")
    it.sees("Name of the repository", "my-model")
    it.types("\x15churn" + ENTER)
    it.sees("One sentence")
    it.types(ENTER)
    it.sees("What a request carries", "Table", "Text", "Images")
    it.types(ENTER)
    it.sees("Framework that trains", "scikit-learn", "PyTorch", "TensorFlow")
    it.types(ARROW_DOWN * 3 + ENTER)
    it.sees("Backend that Keras runs on", "JAX")
    it.types(ARROW_DOWN + ENTER)
    it.sees("Instances that train and serve")
    it.types(ARROW_DOWN + ARROW_UP + ENTER)
    it.sees("Python inside the image")
    it.types(ENTER)
    it.sees("Image to build on")
    it.types(ENTER)
    it.sees("Server that answers")
    it.types(ARROW_DOWN + ENTER)
    it.sees("Region of the ECR")
    it.types(ENTER)
    it.sees("Add a GitHub workflow")
    it.types("n")
    it.sees("What takes the image to AWS", "make up", "CodeBuild")
    it.types(ENTER)
    it.sees("How predictions are asked for", "serverless")
    it.types(ENTER)
    it.sees("Instance that trains", "ml.m5.large", "the image is for CPU: choose ml.m5.large")
    it.types(ENTER)
    it.sees("Instance that serves", "linux/arm64, the image is not: choose ml.m7i.large")
    it.types(ARROW_DOWN + ENTER)
    it.sees("Add notebooks")
    it.types("n")
    assert it.ends() == 0
    for line in ("Next:", "  cd churn", "  make build", "  make test"):
        assert line in it.screen()
    made = yaml.safe_load((here / "churn/.copier-answers.yml").read_text())
    assert made["framework"] == "keras" and made["keras_backend"] == "jax"
    assert made["device"] == "cpu" and made["stack"] == "flask"
    assert made["github_actions"] is False and made["hosting_instance_type"] == "ml.m5.xlarge"
    assert not (here / "churn/.github").exists()


def test_the_folder_s_name_is_proposed(terminal, here):
    it = terminal("new", "Churn_2", "--data", "framework=sklearn", "--data", "device=cpu")
    it.sees("Name of the repository", "churn-2")


def test_an_impossible_choice_is_shown_disabled_with_its_reason(terminal):
    it = terminal("new", "--data", "framework=pytorch", "--data", "device=cpu")
    answer_the_first_questions(it)
    it.sees("Python inside the image", "3.11", "not proven for PyTorch on CPU: choose 3.13")
    it.types(ARROW_DOWN + ENTER)  # the arrow skips what is disabled
    it.sees("Image to build on", "python:3.13-slim", "for GPU only: choose slim or custom")


def test_a_base_image_of_one_s_own_is_named(terminal, here):
    it = terminal("new", "churn", "--data", "framework=sklearn", "--data", "device=cpu")
    answer_the_first_questions(it)
    it.sees("Python inside the image")
    it.types(ENTER)
    it.sees("Image to build on")
    it.types(ARROW_DOWN + ENTER)  # the arrow skips CUDA, which is disabled
    it.sees("Name of that image")
    it.types("python:3.11-slim" + ENTER)
    it.sees("python:3.11-slim brings Python 3.11")
    it.types("\x15debian:13" + ENTER)
    it.sees("Server that answers")
    it.types(ENTER)
    it.sees("Region of the ECR")
    it.types(ENTER)
    it.sees("Add a GitHub workflow")
    it.types(ENTER)
    it.sees("What takes the image to AWS")
    it.types(ARROW_DOWN * 2 + ENTER)  # nothing does: no further question
    assert it.ends() == 0
    assert "ARG BASE_IMAGE=debian:13\n" in (here / "churn/Dockerfile").read_text()
    assert "Proven" not in it.screen()


def test_an_invalid_name_is_refused_at_the_prompt_and_can_be_mended(terminal):
    it = terminal("new")
    it.sees("Name of the repository")
    it.types("\x15My_Model" + ENTER)
    it.sees("Use 2 to 50 lower-case letters")
    it.types("\x15fine" + ENTER)
    it.sees("One sentence")


def test_only_what_is_left_is_asked(terminal, here):
    (here / "a.yml").write_text(
        "project_name: churn\ndescription: Says who leaves\ndata: table\ndevice: cpu\n"
        "python_version: '3.13'\nbase_image: python:3.13-slim\naws_region: eu-central-1\n"
        "github_actions: true\ndeploy: none\n"
    )
    it = terminal("new", "--answers", "a.yml", "--data", "framework=sklearn")
    screen = it.sees("Server that answers")
    assert "Name of the repository" not in screen and "Framework" not in screen
    it.types(ENTER)
    assert it.ends() == 0
    assert (here / "churn/Dockerfile").exists()


def test_nothing_is_asked_when_everything_is_said(terminal, here):
    it = terminal("new", "--defaults")
    assert it.ends() == 0
    assert "Name of the repository" not in it.screen()


PROMPTS = {
    "project_name": "Name of the repository",
    "description": "One sentence",
    "data": "What a request carries",
    "framework": "Framework that trains",
    "keras_backend": "Backend that Keras runs on",
    "device": "Instances that train",
    "python_version": "Python inside the image",
    "base_image": "Image to build on",
    "base_image_name": "Name of that image",
    "stack": "Server that answers",
    "aws_region": "Region of the ECR",
    "github_actions": "Add a GitHub workflow",
    "deploy": "What takes the image to AWS",
    "hosting": "How predictions are asked for",
    "training_instance_type": "Instance that trains",
    "hosting_instance_type": "Instance that serves",
    "notebooks": "Add notebooks",
}


@pytest.mark.parametrize("at", PROMPTS)
def test_ctrl_c_at_any_prompt_leaves_nothing(terminal, here, at):
    values = {
        "project_name": "churn",
        "description": "Says who leaves",
        "data": "table",
        "framework": "keras",
        "keras_backend": "jax",
        "device": "cpu",
        "python_version": "3.13",
        "base_image": "custom",
        "base_image_name": "python:3.13-slim",
        "stack": "flask",
        "aws_region": "us-east-1",
        "github_actions": "true",
        "deploy": "scripts",
        "hosting": "realtime",
        "training_instance_type": "ml.m5.large",
        "hosting_instance_type": "ml.m5.large",
        "notebooks": "false",
    }
    for question, without in (("framework", "keras_backend"), ("base_image", "base_image_name")):
        if at == question:
            values.pop(without)
    given = [part for name, value in values.items() if name != at for part in ("--data", f"{name}={value}")]
    it = terminal("new", *given)
    it.sees(PROMPTS[at])
    it.types(CTRL_C)
    assert it.ends() == 130
    assert "sagegen: interrupted – nothing was left behind" in it.screen()
    assert "Traceback" not in it.screen()
    assert list(here.iterdir()) == []


def test_the_end_of_input_leaves_nothing(terminal, here):
    it = terminal("new")
    it.sees("Name of the repository")
    it.types("\x15" + CTRL_D)
    assert it.ends() == 1
    assert "the input ended before the last question" in it.screen()
    assert list(here.iterdir()) == []


def test_a_taken_name_tells_how_to_keep_the_answers(terminal, here):
    (here / "my-model").mkdir()
    (here / "my-model/mine").write_text("mine")
    (here / "a.yml").write_text(
        "framework: sklearn\ndescription: Says who leaves\ndata: table\ndevice: gpu\npython_version: '3.13'\n"
        "base_image: python:3.13-slim\nstack: flask\naws_region: us-east-1\ngithub_actions: true\n"
        "deploy: none\n"
    )
    it = terminal("new", "--answers", "a.yml")
    it.sees("Name of the repository")
    it.types(ENTER)
    assert it.ends() == 1
    words = " ".join(it.screen().split())
    assert "my-model is not empty" in words and "sagegen new DEST --data" in words
    assert {path.name for path in here.iterdir()} == {"a.yml", "my-model"}
