"""The GPU build: its CUDA libraries are complete. A machine without a GPU can tell, too."""

import json
import re

from conftest import Compose

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
names = [file.name for file in files]
print(json.dumps({"cuda": framework.cuda_version(), "files": names, "problems": problems}))
"""


def test_the_framework_is_built_for_cuda_and_misses_no_library_but_the_drivers(compose: Compose) -> None:
    done = compose("run", "--rm", "--entrypoint", "python", "--env", "NVIDIA_VISIBLE_DEVICES=void", "serve",
                   "-c", LOAD_CUDA)  # fmt: skip
    assert done.returncode == 0, done.stdout
    found = json.loads(done.stdout.splitlines()[-1])
    assert re.fullmatch(r"\d+(\.\d+)*", found["cuda"])
    assert any(name.startswith("libcudart") for name in found["files"])
    assert any(name.startswith("libcublas") for name in found["files"])
    missing = {file: problem for file, problem in found["problems"].items() if "libcuda.so.1" not in problem}
    assert not missing
