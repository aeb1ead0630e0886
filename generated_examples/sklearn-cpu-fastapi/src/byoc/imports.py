"""The build's last step: model.py can be imported, and the packages of requirements.txt find their libraries.

Where model.py imports a package in train() alone, the build must fail, not a training job that is paid for.
"""

import importlib
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

from byoc import framework

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
MISSING = re.compile(r"(\S+): cannot open shared object file")
# The host brings the driver's libraries, and a build has none (T-76).
OF_THE_DRIVER = re.compile(r"lib(cuda|nvidia|nvcuvid)\b")


def check(requirements: Path) -> None:
    """Import each package that this file names. Raises ImportError for one that lacks a system library.

    What else a package lacks, such as a GPU, is none of the build's business.
    """
    lines = requirements.read_text(encoding="utf-8").splitlines()
    named = {_normalised(match[0]) for line in lines if (match := NAME.match(line))}
    for module, distributions in packages_distributions().items():
        if not any(_normalised(name) in named for name in distributions):
            continue
        try:
            importlib.import_module(module)
        except BaseException as error:  # some packages call sys.exit()
            missing = MISSING.search(str(error))
            if missing and not OF_THE_DRIVER.match(missing[1]):
                raise ImportError(f"{module} needs the system library {missing[1]}") from None


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    framework.prepare(threads=1)
    importlib.import_module("model")
    check(Path(sys.argv[1]))
