"""The image, run as SageMaker runs it. `make check` proves the rest of SageMaker's contract."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from conftest import LOCAL_TEST, REPOSITORY, Compose, make_opt_ml

PAYLOADS = sorted(
    file.name for file in (LOCAL_TEST / "payloads").iterdir() if "expected" not in file.name.split(".")
)


def test_a_training_job_leaves_a_model_and_no_failure(trained: Path) -> None:
    assert [file for file in (trained / "model").rglob("*") if file.is_file()]  # T-53
    assert not (trained / "output" / "failure").exists()  # T-51


def test_a_job_that_fails_says_why(compose: Compose, tmp_path: Path) -> None:
    opt_ml = make_opt_ml(tmp_path)
    (opt_ml / "input" / "config" / "hyperparameters.json").write_text("{")
    done = compose("run", "--rm", "train", OPT_ML=str(opt_ml))
    assert done.returncode != 0, done.stdout  # T-50
    assert "hyperparameters.json" in (opt_ml / "output" / "failure").read_text()  # T-51


def test_the_models_own_tests_pass_inside_the_image(compose: Compose, trained: Path) -> None:
    """tests/test_model.py with the framework that the image has; pytest comes from this machine."""
    if not (REPOSITORY / "tests" / "test_model.py").exists():
        pytest.skip("there is no tests/test_model.py")
    tools = Path(pytest.__file__).parent.parent
    options = ["--quiet", "--noconftest", "-p", "no:cacheprovider", "-p", "no:docker"]
    arguments = [*options, "/repository/tests/test_model.py"]
    program = f"import sys; sys.path.append('/tools'); import pytest; sys.exit(pytest.main({arguments!r}))"
    mounts = ["--volume", f"{tools}:/tools:ro", "--volume", f"{REPOSITORY}:/repository:ro"]
    done = compose("run", "--rm", *mounts, "--entrypoint", "python", "serve", "-c", program)
    # Exit code 5: no test ran, because the image does not have what the model needs.
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_sample_request_gets_its_expected_answer(port: int, payload: str) -> None:
    done = subprocess.run(
        ["local_test/predict.sh", payload],
        cwd=REPOSITORY,
        env={**os.environ, "PORT": str(port)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr  # S-20


def test_sigterm_ends_the_endpoint_with_exit_code_0(compose: Compose, port: int) -> None:
    stopped = compose("stop", "serve")  # SIGKILL follows after compose.yaml's stop_grace_period
    assert stopped.returncode == 0, stopped.stdout
    state = json.loads(compose("ps", "--all", "--format", "json", "serve").stdout.splitlines()[-1])
    assert state["ExitCode"] == 0, compose("logs", "serve").stdout  # S-03
