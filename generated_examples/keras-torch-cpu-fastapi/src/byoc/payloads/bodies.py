"""The media types of requests and answers, and JSON in each of its usual forms (S-26, B-10)."""

import csv
import json
from collections.abc import Callable, Mapping, Sequence, Set
from functools import lru_cache
from typing import Any, NamedTuple

from byoc.errors import RequestError

CSV = "text/csv"
JSON = "application/json"
JSON_LINES = "application/jsonlines"
NPY = "application/x-npy"
PARQUET = "application/x-parquet"
# Of answers, the preferred one first.
ALL = (JSON, CSV, JSON_LINES, NPY, PARQUET)
# Other spellings that clients use for the same types.
ALIASES = {
    "application/csv": CSV,
    "application/jsonl": JSON_LINES,
    "application/x-jsonlines": JSON_LINES,
    "application/x-ndjson": JSON_LINES,
    "application/npy": NPY,
    "application/vnd.apache.parquet": PARQUET,
}
# Python keeps 58 KB for each name that it does not know, and some of its own encodings take hours to decode.
CHARSETS = {
    *("utf-8", "utf8", "utf-16", "utf-16le", "utf-16be", "utf-32", "ascii", "us-ascii"),
    *("iso-8859-1", "latin-1", "latin1", "iso-8859-2", "iso-8859-15", "cp1252", "koi8-r"),
    *("windows-1250", "windows-1251", "windows-1252"),
    *("big5", "euc-jp", "euc-kr", "gb2312", "gb18030", "gbk", "shift_jis"),
}
# Keys under which clients send rows.
ROW_KEYS = {"instances", "inputs", "dataframe_split", "dataframe_records", "records", "features", "data"}
# Python's own limit is 128 KiB for each cell.
csv.field_size_limit(2**31 - 1)
# A small body must not become a large array: at most this many bytes for each of its bytes, or in all.
EXPANSION = 16
EXPANDED_BYTES = 64 * 1024 * 1024


class ContentType(NamedTuple):
    """What a Content-Type header says of a body."""

    media_type: str
    charset: str = "utf-8"
    # RFC 4180's parameter: "present", "absent", or empty where the client does not say.
    header: str = ""

    def text(self, body: bytes) -> str:
        """A body's text, without a byte order mark."""
        if body.startswith(b"\x1f\x8b"):
            raise bad_body("the body is compressed by gzip; send it uncompressed")
        return body.decode(self.charset).removeprefix("\ufeff")


@lru_cache(maxsize=64)
def parse_content_type(header: str | None) -> ContentType:
    """Split a Content-Type header; without one it is CSV in UTF-8. Raises RequestError 415 for parameters."""
    media_type, given = _split(header or CSV)
    charset = given.get("charset", "utf-8")
    if charset not in CHARSETS:
        raise RequestError(415, f"charset {charset[:200]!r} is not accepted; send utf-8")
    if given.get("header", "absent") not in ("present", "absent"):
        raise RequestError(415, f"send header=present or header=absent, not header={given['header'][:200]}")
    return ContentType(media_type, charset, given.get("header", ""))


@lru_cache(maxsize=64)
def negotiate(accept: str | None, content_type: str | None = None) -> str:
    """Choose the response's media type from an Accept header with q-values.

    Without a preference the answer has the request's own type, which batch transform relies on (B-11).
    Raises RequestError 406 when nothing acceptable can be produced.
    """
    request_type = parse_content_type(content_type).media_type
    preferred = sorted(ALL, key=lambda media_type: media_type != request_type)
    if not accept or not accept.strip():
        return preferred[0]
    ranges = {media_type: _quality(given) for media_type, given in map(_split, accept.split(","))}

    def quality(media_type: str) -> float:
        candidates = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")  # the most specific decides
        return next((ranges[candidate] for candidate in candidates if candidate in ranges), 0.0)

    best = max(preferred, key=quality)  # the first of equals
    if quality(best) <= 0:
        raise RequestError(406, f"Accept {accept[:200]!r} cannot be met; ask for {', '.join(ALL)}")
    return best


def _split(header: str) -> tuple[str, dict[str, str]]:
    """A media type by its usual name, and its parameters, in lower case."""
    media_type, *parameters = header.lower().split(";")
    pairs = (parameter.partition("=") for parameter in parameters)
    given = {name.strip(): value.strip().strip('"') for name, _, value in pairs}
    return ALIASES.get(media_type.strip(), media_type.strip()), given


def _quality(parameters: Mapping[str, str]) -> float:
    try:
        return float(parameters.get("q", "1"))
    except ValueError:
        return 0.0


def read(
    body: bytes, content_type: str | None, decoders: Mapping[str, Callable[..., Any]], declared: Any
) -> Any:
    """Call the decoder of a body's media type. Raises RequestError 400 or 415."""
    kind = parse_content_type(content_type)
    decoder = decoders.get(kind.media_type) or decoders.get(kind.media_type.partition("/")[0] + "/*")
    if decoder is None:
        known = ", ".join(decoders)
        raise RequestError(415, f"Content-Type {kind.media_type[:200]!r} is not accepted; send {known}")
    if not body or body.isspace():
        raise bad_body("the request has no body")
    try:
        return decoder(body, kind, declared)
    except RequestError:
        raise
    except UnicodeDecodeError:
        raise bad_body(f"the body is not valid {kind.charset}") from None
    except Exception as error:  # each parser has its own exceptions; all of them mean a bad body
        raise bad_body(f"the body is not valid {kind.media_type}: {one_line(error)}") from None


def parse_json(body: bytes, kind: ContentType) -> Any:
    """A body of JSON."""
    try:
        return json.loads(kind.text(body))
    except json.JSONDecodeError as error:
        hint = "; one value per line is application/jsonlines" if error.msg == "Extra data" else ""
        raise ValueError(f"{error}{hint}") from None


def parse_json_lines(body: bytes, kind: ContentType) -> list[Any]:
    """One value for each line of a body that is not blank."""
    lines = [line for line in kind.text(body).split("\n") if line.strip()]
    # All at once, as one JSON array: line by line takes ten times as long.
    values: list[Any] = json.loads("[" + ",\n".join(lines) + "]")
    if len(values) != len(lines):
        raise bad_body("each line must be one JSON value")
    return values


def unwrapped(value: Any, keys: Set[str]) -> Any:
    """What a client sent under one of these keys; the value itself if there is none, or several."""
    found = keys & value.keys() if isinstance(value, dict) else ()
    return value[next(iter(found))] if len(found) == 1 else value


def rows(value: Any, names: Sequence[str]) -> list[Any]:
    """The rows of a JSON value, as they were sent; `names` are those of the declared columns, if any are.

    The value is a list of rows, a row, a record, columns, {"columns": ..., "data": ...}, or one of these
    under a key.
    """
    if isinstance(value, str) and not names:
        return [value]
    if isinstance(value, list):
        is_row = len(names) > 1 and value and not isinstance(value[0], (list, dict))
        return [value] if is_row else value
    if not isinstance(value, dict):
        raise bad_body("the JSON body must be an object or a list")
    if named := [name for name in names if name in value]:
        columns = [value[name] for name in named]
        if not all(isinstance(column, list) for column in columns):
            return [value]
        if len(set(map(len, columns))) > 1:
            raise bad_body(f"all columns must have the same length: {', '.join(named)[:500]}")
        return [dict(zip(named, row, strict=True)) for row in zip(*columns, strict=True)]
    if "columns" in value and "data" in value:
        sent, data = value["columns"], value["data"]
        if not (isinstance(sent, list) and isinstance(data, list)):
            raise bad_body("columns must be a list of names, and data a list of rows")
        if any(not isinstance(row, list) or len(row) != len(sent) for row in data):
            raise bad_body("each row must have one value for each named column")
        if names:
            positions(sent, [name for name in names if name in sent])
            data = [dict(zip(sent, row, strict=True)) for row in data]
        return list(data)
    if (inner := unwrapped(value, ROW_KEYS)) is not value:
        return rows(inner, names)
    record = f" with records of {', '.join(names)[:500]}" if names else ""
    raise bad_body(f'send {{"instances": [...]}} or {{"inputs": [...]}}{record}')


def lists(values: list[Any], names: Sequence[str]) -> list[Any]:
    """The same rows as lists in the order of `names`; what is no row of theirs is refused.

    A row may be a list, a record, the only cell, or one of these under a key.
    """
    if not names or (set(map(type, values)) <= {list} and set(map(len, values)) <= {len(names)}):
        return values
    found = []
    for number, row in enumerate(values, start=1):
        cells = row
        if isinstance(row, dict):
            is_record = not row.keys().isdisjoint(names)
            cells = [row.get(name) for name in names] if is_record else unwrapped(row, ROW_KEYS)
        cells = cells if isinstance(cells, list) else [cells]
        if len(cells) != len(names) or isinstance(cells[0], dict):
            raise bad_body(f"row {number} must be a record or a list of {listed_values(names)}")
        found.append(cells)
    return found


def positions(sent: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Positions of the wanted columns among the client's; others are left out."""
    if not wanted:
        raise bad_body(f"none of the columns {', '.join(map(str, sent))[:500]} is declared")
    places = {name: position for position, name in enumerate(sent)}
    if missing := [name for name in wanted if name not in places]:
        raise bad_body(f"column {missing[0]!r} is missing; each row must have {listed_values(wanted)}")
    names = set(wanted)
    if sum(name in names for name in sent) > len(names):
        raise bad_body(f"a column is named twice; each row must have {listed_values(wanted)}")
    return [places[name] for name in wanted]


def listed_values(names: Sequence[str]) -> str:
    return f"{len(names)} values ({', '.join(names)[:500]})"


def check_expansion(array_bytes: int, body_bytes: int) -> None:
    """Raise RequestError 413 where a body of so many bytes would take too many in memory."""
    if array_bytes > max(EXPANDED_BYTES, EXPANSION * body_bytes):
        raise RequestError(413, f"the body would take {array_bytes} bytes in memory; send smaller batches")


def bad_body(reason: str) -> RequestError:
    return RequestError(400, reason)


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
