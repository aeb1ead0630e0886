"""Bodies become lists of texts, images or other bytes, or what a model without a declaration gets (B-10)."""

import base64
import csv
import io
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from pyarrow import parquet

from byoc.errors import RequestError
from byoc.inputs import Images, Media, Numbers, Text
from byoc.payloads import bodies, tables
from byoc.payloads.media_types import CSV, JSON, JSON_LINES, NPY, PARQUET, ContentType, parse_content_type
from byoc.payloads.tables import Array

PLAIN = "text/plain"
ANY = "application/octet-stream"
# Keys under which clients send several items, or one.
KEYS = ("instances", "inputs", "text", "texts", "images", "image", "data")
# Pillow would start other programs for some formats.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
HEADER_HINT = "If row 1 is a CSV header, say header=present in the Content-Type"


def decode_text(body: bytes, content_type: str | None, declared: Text) -> list[str]:
    """Decode a body to texts. Raises RequestError 400 for a bad body, 415 for an unknown type."""
    texts: list[str] = _filled(bodies.read(body, content_type, TEXT_DECODERS, declared))
    for number, text in enumerate(texts, start=1):
        if not isinstance(text, str):
            raise bodies.bad_body(f"text {number} is {repr(text)[:200]}; send a text")
    return texts


def decode_media(body: bytes, content_type: str | None, declared: Media) -> list[Any]:
    """Decode a body to bytes, or to images where Images() is declared.

    Raises RequestError 400 for a bad body or image, 413 for too many pixels, 415 for an unknown type.
    """
    whole = dict.fromkeys((*declared.media_types, ANY), _whole)
    decoders = {**whole, JSON: _from_json, JSON_LINES: _from_json_lines}
    sent = _filled(bodies.read(body, content_type, decoders, declared))
    items = [item if isinstance(item, bytes) else _from_base64(item, n) for n, item in enumerate(sent, 1)]
    return _images(items) if isinstance(declared, Images) else items


def decode_undeclared(body: bytes, content_type: str | None, accepts_missing: bool = False) -> Array:
    """Decode a body for a model without a declaration: texts [n], bytes as objects [n], or what it holds."""
    media_type = parse_content_type(content_type).media_type
    if media_type == PLAIN:
        return _text_array(np.array(decode_text(body, content_type, Text()), dtype=object))
    if media_type.startswith("image/") or media_type in ("application/x-image", ANY):
        items = np.empty(1, dtype=object)
        items[0] = np.bytes_(bodies.read(body, content_type, {media_type: _whole}, None)[0])
        return items
    inputs: Array = _filled(bodies.read(body, content_type, UNDECLARED, None))
    if inputs.dtype.kind not in "biufU" or not inputs.dtype.itemsize:
        raise bodies.bad_body(f"the values are of type {inputs.dtype}; send numbers or text")
    inputs = inputs.astype(inputs.dtype.newbyteorder("="), copy=False)
    if inputs.dtype.kind == "f" and not np.isfinite(inputs).all():
        refused = np.argwhere(np.isinf(inputs) if accepts_missing else ~np.isfinite(inputs))
        if len(refused):
            row, *place = refused[0].tolist()
            raise bodies.bad_body(
                f"row {row + 1} has no finite number for value {place[0] + 1 if place else 1}"
            )
    return inputs


def _filled(items: Any) -> Any:
    if not len(items):
        raise bodies.bad_body("the body holds nothing")
    return items


def _whole(body: bytes, kind: ContentType, declared: Any) -> list[bytes]:
    return [body]


def _plain(body: bytes, kind: ContentType, declared: Text) -> list[str]:
    text = body.decode(kind.charset)
    if os.environ.get("SAGEMAKER_BATCH", "").lower() != "true":
        return [text]
    return [line.rstrip("\r") for line in text.split("\n") if line.strip()]  # batch transform splits a file


def _csv_rows(body: bytes, kind: ContentType) -> list[list[str]]:
    """The rows of a CSV whose columns have no names; its header is one only if the client says so."""
    text = body.decode(kind.charset).removeprefix("\ufeff")
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    for number, row in enumerate(rows, start=1):
        if len(row) != len(rows[0]):
            raise bodies.bad_body(f"row {number} has {len(row)} values; row 1 has {len(rows[0])}")
    return rows[kind.header == "present" :]


def _from_csv(body: bytes, kind: ContentType, declared: Text) -> list[Any]:
    rows = _csv_rows(body, kind)
    if rows and len(rows[0]) > 1:
        raise bodies.bad_body(f"a row has {len(rows[0])} columns; send one, and quote texts with a comma")
    return [row[0] or None for row in rows]


def _from_json(body: bytes, kind: ContentType, declared: Any) -> list[Any]:
    items = bodies.unwrapped(bodies.parse_json(body, kind), KEYS)
    return [bodies.unwrapped(item, KEYS) for item in items] if isinstance(items, list) else [items]


def _from_json_lines(body: bytes, kind: ContentType, declared: Any) -> list[Any]:
    return [bodies.unwrapped(line, KEYS) for line in bodies.parse_json_lines(body, kind)]


def _from_base64(item: Any, number: int) -> bytes:
    text = item.get("b64") if isinstance(item, dict) else item
    try:
        if not isinstance(text, str):
            raise ValueError
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        raise bodies.bad_body(
            f'item {number} is no base64; send {{"b64": "..."}} or a string of it'
        ) from None


def _images(items: Sequence[bytes]) -> list[Any]:
    from PIL import Image  # only models that declare Images() have it

    images = []
    pixels, most = 0, Image.MAX_IMAGE_PIXELS or 0
    for number, item in enumerate(items, start=1):
        try:
            image = Image.open(io.BytesIO(item), formats=FORMATS)
            pixels += image.width * image.height
            if pixels <= most:
                image.load()
        except Image.DecompressionBombError:
            pixels = most + 1
        except Exception as error:  # each format has its own exceptions
            raise bodies.bad_body(f"image {number} cannot be read: {bodies.one_line(error)}") from None
        if pixels > most:
            raise RequestError(413, f"the images have more than {most} pixels; send smaller ones, or fewer")
        images.append(image)
    return images


def _undeclared_csv(body: bytes, kind: ContentType, declared: None) -> Array:
    def cell(text: str) -> float | str:
        try:
            return float(text.strip() or "nan")
        except ValueError:
            return text

    rows = []
    for row in _csv_rows(body, kind):
        values = [cell(text) for text in row]
        rows.append(row if str in map(type, values) else values)
    return _numbers_or_text(rows)


def _undeclared_json(body: bytes, kind: ContentType, declared: None) -> Array:
    value = bodies.parse_json(body, kind)
    if isinstance(value, dict) and value.keys() == {"text"}:  # as clients of text models send it
        value = value["text"]
    return _numbers_or_text(bodies.rows(value, ()))


def _undeclared_json_lines(body: bytes, kind: ContentType, declared: None) -> Array:
    return _numbers_or_text(
        [bodies.unwrapped(line, bodies.ROW_KEYS) for line in bodies.parse_json_lines(body, kind)]
    )


def _undeclared_npy(body: bytes, kind: ContentType, declared: None) -> Array:
    loaded = np.load(io.BytesIO(body), allow_pickle=False)
    if not isinstance(loaded, np.ndarray):
        raise bodies.bad_body("the body must be one .npy array, not an archive")
    return loaded.reshape(1, -1) if loaded.ndim < 2 else loaded


def _undeclared_parquet(body: bytes, kind: ContentType, declared: None) -> Array:
    schema = parquet.read_schema(io.BytesIO(body))
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    names = [name for name in schema.names if name not in index]
    array: Array = tables.decode(body, PARQUET, Numbers(*names, missing=True))
    return array


def _numbers_or_text(rows: list[Any]) -> Array:
    """What was sent, whose type follows from each row alone: numbers or text."""
    if rows and isinstance(rows[0], dict):
        name, *others = rows[0]
        if others:
            raise bodies.bad_body("the model declares no INPUTS, so records have no order; send lists")
        rows = bodies.lists(rows, [name])
    cells = np.array(rows, dtype=object)
    types = set(map(type, cells.ravel()))
    if types <= {int, float, bool, type(None)}:
        return cells.astype(np.float64)
    if not types <= {str, int, float, bool}:
        raise bodies.bad_body("all rows must have the same shape, and hold numbers or text")
    has_text = [str in map(type, row) for row in cells.reshape(len(cells), -1)]
    if not all(has_text):
        number = has_text.index(not has_text[0]) + 1
        raise bodies.bad_body(f"row {number} is not like row 1: only one of them holds text. {HEADER_HINT}")
    return _text_array(cells)


def _text_array(cells: Array) -> Array:
    lengths = [len(str(cell)) for cell in cells.ravel()]  # every cell becomes as wide as the longest
    bodies.check_expansion(len(lengths) * max(lengths) * np.dtype("U1").itemsize, sum(lengths))
    return cells.astype(str)


TEXT_DECODERS: Mapping[str, Callable[..., list[Any]]] = {
    PLAIN: _plain,
    CSV: _from_csv,
    JSON: _from_json,
    JSON_LINES: _from_json_lines,
}
UNDECLARED: Mapping[str, Callable[..., Array]] = {
    CSV: _undeclared_csv,
    JSON: _undeclared_json,
    JSON_LINES: _undeclared_json_lines,
    NPY: _undeclared_npy,
    PARQUET: _undeclared_parquet,
}
