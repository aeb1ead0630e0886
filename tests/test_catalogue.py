"""The catalogue holds together: folders, specs, choices and refusals say the same."""

from __future__ import annotations

import itertools
import shutil
import tomllib
from pathlib import Path

import pytest
import yaml
from helpers import COMBOS, ROOT, SAMPLES, commit, git, tree

from sagegen import catalogue
from sagegen.errors import SagegenError
from sagegen.render import render

SPECS = sorted((ROOT / "template").glob("*/*/*.yml"))
AXES = {name: list(catalogue.choices(name)) for name in catalogue.axes()}
REFUSED = [c for c in catalogue.combinations() if c.reason]
#: One other valid answer for each question that is no axis, with what it presupposes.
OTHER_ANSWERS = {
    "project_name": {"project_name": "churn-2"},
    "description": {"description": "Says who leaves"},
    "base_image": {"base_image": "cuda", "device": "gpu"},
    "base_image_name": {"base_image": "custom", "base_image_name": "python:3.13-slim-bookworm"},
    "aws_region": {"aws_region": "eu-central-1"},
    "github_actions": {"github_actions": False},
    "deploy": {"deploy": "none"},
    "hosting": {"hosting": "serverless"},
    "training_instance_type": {"training_instance_type": "ml.m7i.xlarge"},
    "hosting_instance_type": {"hosting_instance_type": "ml.c7i.xlarge"},
    "notebooks": {"notebooks": True},
}


@pytest.mark.parametrize("axis,folder", [("framework", "frameworks"), ("stack", "stacks"), ("data", "data")])
def test_every_choice_is_a_folder_and_every_folder_a_choice(axis, folder):
    assert set(catalogue.choices(axis)) == {path.name for path in (ROOT / "template" / folder).iterdir()}


@pytest.mark.parametrize("spec", SPECS, ids=lambda path: path.parent.name)
def test_a_spec_lists_the_files_beside_it(spec: Path):
    listed = yaml.safe_load(spec.read_text())
    files = {path.relative_to(spec.parent).as_posix() for path in spec.parent.rglob("*") if path.is_file()}
    beside = {name for name in files - {spec.name} if "__pycache__" not in name}
    backends = {f"backends/{name}.py" for name in listed.get("backends", {})}
    models = {f"models/{name}.py" for name in catalogue.choices("framework") if spec.name == "data.yml"}
    assert {*listed.get("files", ()), *listed.get("parts", ())} == beside - backends - models
    assert {name for name in beside if name.startswith("backends/")} <= backends
    assert models <= beside


@pytest.mark.parametrize("spec", SPECS, ids=lambda path: path.parent.name)
def test_every_part_of_a_spec_is_included_somewhere(spec: Path):
    templates = [
        path.read_text() for path in (ROOT / "template").rglob("*") if path.suffix in (".py", ".jinja")
    ]
    for part in yaml.safe_load(spec.read_text()).get("parts", ()):
        # tests.py is included by the name that data has.
        name = f"{spec.parent.relative_to(ROOT).as_posix()}/{part}"
        assert any(name in text or f'data ~ "/{part}"' in text for text in templates), name


@pytest.mark.parametrize("kind", catalogue.choices("data"))
def test_a_kind_of_data_has_training_data_and_payloads_of_its_own(kind):
    folder = ROOT / "template/project" / f"{{% if data == '{kind}' %}}local_test{{% endif %}}"
    assert {path.name for path in (folder / "opt_ml/input/data").iterdir()} == {"train", "validation", "test"}
    assert {"records.jsonl", "expected.csv"} <= {path.name for path in (folder / "payloads").iterdir()}


def test_all_sample_data_together_have_at_most_a_megabyte():
    files = (ROOT / "template/project").glob("*local_test*/**/*")
    assert sum(file.stat().st_size for file in files if file.is_file()) <= 10**6


@pytest.mark.parametrize("spec", SPECS, ids=lambda path: path.parent.name)
def test_every_requirement_is_pinned_and_has_a_reason(spec: Path):
    def entries(value):
        if isinstance(value, dict) and "pin" in value:
            yield value
        elif isinstance(value, dict | list):
            for item in value.values() if isinstance(value, dict) else value:
                yield from entries(item)

    found = list(entries(yaml.safe_load(spec.read_text())))
    assert found or spec.name == "data.yml"  # a kind of data may need nothing more
    for entry in found:
        assert entry.keys() == {"pin", "why"}, entry  # a comma would begin a third
        assert "==" in entry["pin"] and entry["why"].strip(), entry


def test_every_framework_and_backend_exists_on_every_device_and_stack():
    default = {c.id for c in COMBOS if c.answers["python_version"] == "3.13"}
    models = {(c.answers["framework"], c.answers.get("keras_backend")) for c in catalogue.combinations()}
    assert len(models) >= 6
    assert len(default) == len(models) * len(AXES["device"]) * len(AXES["stack"])


def test_ids_are_unique():
    names = [c.id for c in catalogue.product()]
    assert len(names) == len(set(names))
    assert {c.id for c in COMBOS + SAMPLES} <= set(names)


def test_every_framework_and_backend_has_a_sample_of_each_kind_of_data():
    def models(among):
        return {(c.answers["framework"], c.answers.get("keras_backend"), c.answers["data"]) for c in among}

    assert models(COMBOS + SAMPLES) == models(catalogue.product())
    assert len(SAMPLES) == len(models(SAMPLES))  # each once


@pytest.mark.parametrize("axis", AXES)
def test_no_value_of_an_axis_is_dead(axis):
    assert {c.answers[axis] for c in COMBOS + SAMPLES if axis in c.answers} == set(AXES[axis])


def test_no_two_combinations_render_the_same(trees):
    contents = {
        name: {path: entry for path, entry in files.items() if path != ".copier-answers.yml"}
        for name, files in trees.items()
    }
    for (one, here), (other, there) in itertools.combinations(contents.items(), 2):
        assert here != there, f"{one} and {other} are the same repository"


def test_other_answers_cover_every_question_that_is_no_axis():
    assert OTHER_ANSWERS.keys() == set(catalogue.asked()) - AXES.keys()


@pytest.mark.parametrize("question", OTHER_ANSWERS)
def test_every_answer_changes_something(question, tmp_path, trees):
    answers = OTHER_ANSWERS[question]
    render(tmp_path / "other", answers)
    other = tree(tmp_path / "other")
    default = trees["sklearn-gpu-fastapi" if answers.get("device") == "gpu" else "sklearn-cpu-fastapi"]
    changed = {path for path in default.keys() | other.keys() if default.get(path) != other.get(path)}
    assert changed - {".copier-answers.yml"}, f"{question} changes nothing but its own record"


@pytest.mark.parametrize("combination", REFUSED, ids=lambda c: c.id)
def test_every_refusal_has_a_reason_and_copier_gives_the_same(combination, tmp_path):
    with pytest.raises(SagegenError) as refusal:
        render(tmp_path / "refused", combination.answers)
    assert combination.reason in str(refusal.value)
    assert not (tmp_path / "refused").exists()


@pytest.mark.parametrize("question", AXES)
def test_a_disabled_choice_says_why(question):
    """A choice with a validator must refuse in words, for they are shown beside it."""
    reasons = {c.reason for c in REFUSED}
    assert all(len(reason.split()) > 3 for reason in reasons)


def test_no_rendered_file_is_ignored_by_the_repository_s_own_gitignore(rendered, tmp_path):
    for name, folder in rendered.items():
        repository = shutil.copytree(folder, tmp_path / name)
        commit(repository, name)
        ignored = git(repository, "status", "--porcelain", "--ignored")
        assert not ignored, f"{name} would lose files in its first commit"


def test_no_rendered_line_is_left_over_from_the_template(trees):
    for name, files in trees.items():
        for path, (_, content) in files.items():
            for mark in (b"{%", b"%}", b"_copier"):
                assert mark not in content or path == "README.md", f"{mark!r} in {name}/{path}"


INSTANCES = {
    "training_instance_type": ["TrainingInstanceType"],
    "hosting_instance_type": ["ProductionVariantInstanceType", "TransformInstanceType"],
}


@pytest.mark.parametrize("question", INSTANCES)
def test_aws_knows_every_instance_type_that_can_be_chosen(question):
    from botocore.session import get_session

    model = get_session().get_service_model("sagemaker")
    offered = catalogue.questions()[question]["choices"].values()
    possible = {one["value"] for one in offered if "linux/arm64" not in one["validator"]}
    assert len(possible) > 5
    for shape in INSTANCES[question]:
        assert possible <= set(model.shape_for(shape).enum)


@pytest.mark.parametrize(
    "answers,says",
    [
        (
            {"device": "gpu", "training_instance_type": "ml.m5.large"},
            "refused: the image is for GPU: choose ml.g5.xlarge",
        ),
        ({"hosting_instance_type": "ml.g5.xlarge"}, "refused: the image is for CPU: choose ml.m5.large"),
        (
            {"hosting_instance_type": "ml.m6g.large"},
            "refused: linux/arm64, the image is not: choose ml.m7i.large",
        ),
        ({"device": "gpu", "hosting": "serverless"}, "serverless endpoints have no GPU: choose realtime"),
    ],
)
def test_an_instance_that_cannot_run_the_image_is_refused_with_what_can(answers, says, tmp_path):
    with pytest.raises(SagegenError) as refusal:
        render(tmp_path / "refused", answers)
    assert says in str(refusal.value)


@pytest.mark.parametrize("hosting", catalogue.choices("hosting"))
def test_settings_hold_what_the_kind_of_hosting_needs_and_nothing_else(hosting, tmp_path):
    render(tmp_path / "one", {"hosting": hosting})
    settings = tomllib.loads((tmp_path / "one/deploy/settings.toml").read_text())
    assert settings["hosting"]["mode"] == hosting
    assert ("instance_type" in settings["hosting"]) == (hosting != "serverless")
    assert ("memory_mb" in settings["hosting"]) == (hosting == "serverless")
    assert ("scale" in settings) == (hosting in ("realtime", "async"))
    assert ("alarms" in settings) == (hosting != "batch")
