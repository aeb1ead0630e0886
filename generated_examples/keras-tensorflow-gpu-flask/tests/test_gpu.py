"""The GPU build, also proven where there is no GPU: complete, honest, and without a driver (T-76 to T-78)."""

import json
import re

import pytest
from conftest import Training
from docker_tools import Containers, docker

pytestmark = pytest.mark.usefixtures("head_start")

WITHOUT_GPU = ("--env", "NVIDIA_VISIBLE_DEVICES=void", "--entrypoint", "python")
# Loads every CUDA library of the image, after the framework has told the loader where they are.
LOAD_CUDA = """
import ctypes, json, re
from pathlib import Path
from byoc import framework

framework.prepare(threads=1)
names = "cublas|cublasLt|cudart|cudnn|cufft|curand|cusolver|cusparse|nccl|nvJitLink|nvrtc"
libraries = [file for top in ("/opt/venv", "/usr/local") for file in sorted(Path(top).rglob("lib*.so*"))]
files = [f for f in libraries if re.fullmatch(f"lib({names})[.]so[.0-9]*", f.name) and "stubs" not in f.parts]
problems = {}
for file in files:
    try:
        ctypes.CDLL(str(file))
    except OSError as error:
        problems[str(file)] = str(error)
print(json.dumps({"files": [p.name for p in files], "problems": problems}))
"""


def test_the_framework_is_a_build_for_cuda(containers: Containers) -> None:
    program = "from byoc import framework; print(framework.cuda_version())"
    done = containers.run(*WITHOUT_GPU, command=["-c", program])
    assert re.fullmatch(r"\d+(\.\d+)*", done.stdout.splitlines()[-1]), done


def test_the_cuda_libraries_are_complete_but_for_the_hosts_driver(containers: Containers) -> None:
    done = containers.run(*WITHOUT_GPU, command=["-c", LOAD_CUDA])
    found = json.loads(done.stdout.splitlines()[-1])
    assert any(name.startswith("libcudart") for name in found["files"])
    assert any(name.startswith("libcublas") for name in found["files"])
    missing = {file: problem for file, problem in found["problems"].items() if "libcuda.so.1" not in problem}
    assert not missing


def test_the_image_brings_no_driver(containers: Containers) -> None:
    names = ("libcuda.so.[0-9]*", "libnvidia-ml.so*", "nvidia-smi", "nvidia.ko")
    either = [part for name in names for part in ("-o", "-name", name)][1:]
    done = containers.run("--entrypoint", "find", command=["/", "-xdev", "(", *either, ")", "-print"])
    assert done.returncode == 0, done.stderr
    drivers = [path for path in done.stdout.split() if "/compat/" not in path and "/stubs/" not in path]
    assert not drivers  # T-76


def test_the_image_asks_the_host_for_its_driver(image: str) -> None:
    variables = dict(
        v.split("=", 1) for v in json.loads(docker("image", "inspect", image))[0]["Config"]["Env"]
    )
    assert variables["NVIDIA_VISIBLE_DEVICES"] == "all"  # T-77
    assert {"compute", "utility"} <= set(variables["NVIDIA_DRIVER_CAPABILITIES"].split(","))


def test_training_goes_on_without_a_gpu_and_says_so(old_style_training: Training) -> None:
    assert old_style_training.container.wait() == 0  # T-78
    assert "no GPU is visible" in old_style_training.container.log
