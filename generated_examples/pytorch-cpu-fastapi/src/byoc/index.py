"""Where installed modules lie, written down while the image is built, so that no start looks for them.

Python searches folder after folder for each of the 1,500 modules that an endpoint imports, and asks the file
system about every candidate: a fifteenth of a start. Run as a program, this file writes the index.
"""

import marshal
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.machinery import ExtensionFileLoader, ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import MAGIC_NUMBER
from types import CodeType

FILE = os.path.join(sys.prefix, "modules.index")
INIT = "/__init__.py"
LOADERS = (SourceFileLoader, ExtensionFileLoader)


class Loader(SourceFileLoader):
    """Python's own, but for a shorter way to the bytecode where that fits its source."""

    def get_code(self, fullname: str) -> CodeType | None:
        """A module's code; compiled again where its source was edited, as ever."""
        folder, _, name = self.path.rpartition("/")
        bytecode = f"{folder}/__pycache__/{name.removesuffix('py')}{sys.implementation.cache_tag}.pyc"
        try:
            with open(bytecode, "rb", buffering=0) as file:
                data = file.read()
            source = os.stat(self.path)
        except OSError:
            return super().get_code(fullname)
        # PEP 552: no flags, then the source's time and size.
        made_from = b"".join(
            (number & 0xFFFFFFFF).to_bytes(4, "little")
            for number in (0, int(source.st_mtime), source.st_size)
        )
        if data[:16] != MAGIC_NUMBER + made_from:
            return super().get_code(fullname)
        code: CodeType = marshal.loads(memoryview(data)[16:])
        return code


class Index:
    """A finder for sys.meta_path that need not search."""

    def __init__(self, origins: Mapping[str, str]) -> None:
        self._origins = origins

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: object = None
    ) -> ModuleSpec | None:
        """How to load a module; None for one that is not known, or whose package has changed its path."""
        origin = self._origins.get(name)
        if not origin or (path is not None and (len(path) != 1 or not origin.startswith(path[0] + "/"))):
            return None
        loader = Loader if origin.endswith(".py") else ExtensionFileLoader
        is_package = origin.endswith(INIT)
        spec = ModuleSpec(name, loader(name, origin), origin=origin, is_package=is_package)
        spec.has_location = True
        if is_package:
            spec.submodule_search_locations = [origin.removesuffix(INIT)]
        return spec


def use(file: str = FILE) -> None:
    """Look modules up before they are searched for.

    Does nothing where there is no index, or where something was installed since it was written.
    """
    try:
        with open(file, "rb") as index:
            folders, origins = marshal.loads(index.read())
    except OSError:
        return
    if folders != _installed_in():
        return
    for folder in set(sys.path) - folders.keys():  # where your own modules are, which come first
        with suppress(OSError):
            for entry in os.listdir(folder or "."):
                origins.pop(entry.partition(".")[0], None)
    # Behind the finders of built-in and frozen modules, before the one that searches.
    sys.meta_path.insert(len(sys.meta_path) - 1, Index(origins))


def write(file: str = FILE) -> None:
    """Write down what is installed now."""
    folders = _installed_in()
    origins: dict[str, str] = {}
    for name, origin in _modules(folders):
        origins.setdefault(name, origin)  # the first folder wins, as in a search
    with open(file, "wb") as index:
        marshal.dump((folders, origins), index)


def _installed_in() -> dict[str, int]:
    """The folders of Python's library and of what is installed, and when each was changed.

    In whole seconds, for layers of an image keep no fractions.
    """
    roots = (sys.prefix, sys.base_prefix)
    return {
        folder: int(os.stat(folder).st_mtime)
        for folder in sys.path
        if folder.startswith(roots) and os.path.isdir(folder)
    }


def _modules(folders: Iterable[str], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Each module's name and file, as a search would find them; nothing is imported."""
    import pkgutil  # here, for a start does not need it

    for folder in folders:
        for module in pkgutil.iter_modules([folder], prefix):
            spec = PathFinder.find_spec(module.name, [folder])
            if not spec or not spec.origin or type(spec.loader) not in LOADERS:
                continue
            if module.name.endswith(".tests"):  # a third of all modules, which no endpoint imports
                continue
            if not module.ispkg:
                yield module.name, spec.origin
            elif spec.origin.endswith(INIT):
                yield module.name, spec.origin
                yield from _modules([spec.origin.removesuffix(INIT)], module.name + ".")


if __name__ == "__main__":
    write()
