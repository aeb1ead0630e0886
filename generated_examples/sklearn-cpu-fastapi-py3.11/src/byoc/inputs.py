"""What `predict` gets: model.py declares it once as INPUTS, and nothing in a request changes it."""

import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any


@dataclass(frozen=True)
class Column:
    """One column of a Table. Made by `number`, `whole_number`, `text`, `category`, `boolean` and `date`."""

    type: str
    optional: bool = False
    values: tuple[str, ...] = ()


def number(*, optional: bool = False) -> Column:
    """A finite number: float64, NaN where it is missing."""
    return Column("number", optional)


def whole_number(*, optional: bool = False) -> Column:
    """A whole number of 64 bits: int64; if optional, float64 with NaN (in a DataFrame: Int64)."""
    return Column("whole_number", optional)


def text(*, optional: bool = False) -> Column:
    """Any text: str, None where it is missing."""
    return Column("text", optional)


def category(*values: str, optional: bool = False) -> Column:
    """One of the given texts: str, None where it is missing (in a DataFrame: a Categorical of all values)."""
    if not values or not all(isinstance(value, str) and value and value == value.strip() for value in values):
        raise ValueError("category() needs its values, without spaces around them: category('a', 'b')")
    if len(set(values)) < len(values):
        raise ValueError(f"category() names a value twice: {', '.join(values)}")
    return Column("category", optional, values)


def boolean(*, optional: bool = False) -> Column:
    """True or False (in CSV also 1 and 0): bool; if optional, an object that may be None."""
    return Column("boolean", optional)


def date(*, optional: bool = False) -> Column:
    """A day or a time of ISO 8601, in UTC where it has an offset: datetime64[us], NaT where it is missing."""
    return Column("date", optional)


class Numbers:
    """`predict` gets a float array of shape [rows, columns]; with missing=True it may hold NaN."""

    def __init__(self, *names: str, missing: bool = False) -> None:
        self.names = _names("Numbers", names)
        self.columns = dict.fromkeys(names, number(optional=missing))


class Features(Numbers):
    """What FEATURES of older repositories means: Numbers, and objects for a request that holds text too."""


class Table:
    """`predict` gets exactly these columns, each an array of shape [rows]: a dict, or a pandas DataFrame.

    A name that is no Python name, or is `dataframe`, is given in a dict: Table({"sepal length": number()}).
    """

    def __init__(
        self, columns: Mapping[str, Column] | None = None, /, *, dataframe: bool = False, **named: Column
    ) -> None:
        self.columns = {**(columns or {}), **named}
        self.names = _names("Table", tuple(self.columns))
        self.dataframe = dataframe
        for name, column in self.columns.items():
            if not isinstance(column, Column):
                raise ValueError(f"Table: column {name!r} must be number(), text(), category(...) or alike")
        if len(self.columns) < len(columns or {}) + len(named):
            raise ValueError("Table names a column twice")


class Text:
    """`predict` gets a list of str, one per text."""


class Media:
    """`predict` gets a list of bytes, undecoded, of these media types ("audio/wav", "image/*")."""

    def __init__(self, *media_types: str) -> None:
        if not media_types or not all(isinstance(t, str) and t.count("/") == 1 for t in media_types):
            raise ValueError('Media needs the media types that it takes: Media("image/*", "audio/wav")')
        self.media_types = tuple(media_type.lower() for media_type in media_types)


class Images(Media):
    """`predict` gets a list of PIL.Image.Image, one per image; requirements.txt must name pillow."""

    def __init__(self) -> None:
        super().__init__("image/*", "application/x-image")


Inputs = Numbers | Table | Text | Media


def declared(module: ModuleType) -> Inputs | None:
    """model.py's INPUTS, or what its FEATURES mean; None if it declares neither."""
    inputs = getattr(module, "INPUTS", None)
    features = getattr(module, "FEATURES", ())
    if isinstance(features, str):
        raise ValueError(f"FEATURES is {features!r:.100}; it must be a tuple of names: ('a', 'b')")
    if inputs is None and (features := tuple(features)):
        return Features(*features, missing=bool(getattr(module, "ACCEPTS_MISSING", False)))
    if not isinstance(inputs, Inputs | None):
        kinds = "Numbers(...), Table(...), Text(), Images() or Media(...)"
        raise ValueError(f"INPUTS is {inputs!r:.100}; it must be {kinds}")
    return inputs


def schema(inputs: Inputs | None) -> dict[str, Any] | None:
    """The declaration as JSON; None for a model without one."""
    if inputs is None:
        return None
    kind = "numbers" if isinstance(inputs, Numbers) else type(inputs).__name__.lower()
    described: dict[str, Any] = {"type": kind}
    if isinstance(inputs, (Numbers, Table)):
        described["columns"] = columns = []
        for name, column in inputs.columns.items():
            values = {"values": list(column.values)} if column.values else {}
            columns.append({"name": name, "type": column.type, "optional": column.optional, **values})
    elif type(inputs) is Media:
        described["media_types"] = list(inputs.media_types)
    return described


def _names(kind: str, names: Sequence[str]) -> tuple[str, ...]:
    if not names or not all(isinstance(name, str) and name and name == name.strip() for name in names):
        raise ValueError(f"{kind} needs the names of its columns, without spaces around them")
    if len(set(names)) < len(names):
        raise ValueError(f"{kind} names a column twice: {', '.join(names)}")
    return tuple(names)


def main() -> None:
    """Print the schema of model.py's INPUTS as JSON."""
    from byoc import framework

    framework.prepare(threads=1)
    print(json.dumps(schema(declared(importlib.import_module("model"))), indent=2))


if __name__ == "__main__":
    importlib.import_module("byoc.inputs").main()  # whose classes are those that model.py imports
