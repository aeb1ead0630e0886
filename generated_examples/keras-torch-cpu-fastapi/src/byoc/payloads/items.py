"""Requests become lists of texts, images or other bytes, one item for each prediction (B-10)."""

import base64
import csv
import io
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from byoc.errors import RequestError
from byoc.inputs import Images, Media, Text
from byoc.payloads import decoding
from byoc.payloads.media_types import CSV, JSON, JSON_LINES, ContentType, parse_content_type

PLAIN = "text/plain"
# Keys under which clients send several items, or one.
KEYS = ("instances", "inputs", "text", "texts", "images", "image", "data")
# Pillow would start other programs for some formats.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")


def decode_text(body: bytes, content_type: str | None, declared: Text) -> list[str]:
    """Decode a body to texts. Raises RequestError 400 for a bad body, 415 for an unknown type."""
    texts = _filled(decoding.read(body, content_type, TEXT_DECODERS, declared))
    for number, text in enumerate(texts, start=1):
        if not isinstance(text, str):
            raise decoding.bad_body(f"text {number} is {repr(text)[:200]}; send a text")
    return texts


def decode_media(body: bytes, content_type: str | None, declared: Media) -> list[Any]:
    """Decode a body to bytes, or to images where Images() is declared.

    Raises RequestError 400 for a bad body or image, 413 for too many pixels, 415 for an unknown type.
    """
    types = (*declared.media_types, "application/octet-stream")
    decoders = {**dict.fromkeys(types, _whole), JSON: _from_json, JSON_LINES: _from_json_lines}
    items = _filled(decoding.read(body, content_type, decoders, declared))
    items = [
        item if isinstance(item, bytes) else _from_base64(item, n) for n, item in enumerate(items, start=1)
    ]
    return _images(items) if isinstance(declared, Images) else items


def decode_undeclared(body: bytes, content_type: str | None, accepts_missing: bool = False) -> decoding.Array:
    """Decode a body for a model without a declaration: texts [n], bytes as objects [n], or what it holds."""
    media_type = parse_content_type(content_type).media_type
    if media_type == PLAIN:
        return decoding.text_array(np.array(decode_text(body, content_type, Text()), dtype=object))
    if media_type.startswith("image/") or media_type in ("application/x-image", "application/octet-stream"):
        items = np.empty(1, dtype=object)
        items[0] = np.bytes_(decoding.read(body, content_type, {media_type: _whole}, None)[0])
        return items
    return decoding.decode(body, content_type, (), accepts_missing)


def _filled(items: list[Any]) -> list[Any]:
    if not items:
        raise decoding.bad_body("the body holds no items")
    return items


def _whole(body: bytes, kind: ContentType, declared: Any) -> list[bytes]:
    return [body]


def _plain(body: bytes, kind: ContentType, declared: Text) -> list[str]:
    text = body.decode(kind.charset)
    if os.environ.get("SAGEMAKER_BATCH", "").lower() != "true":
        return [text]
    return [line.rstrip("\r") for line in text.split("\n") if line.strip()]  # batch transform splits a file


def _from_csv(body: bytes, kind: ContentType, declared: Text) -> list[Any]:
    text = body.decode(kind.charset).removeprefix("\ufeff")
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    for number, row in enumerate(rows, start=1):
        if len(row) != 1:
            raise decoding.bad_body(
                f"row {number} has {len(row)} columns; send one, and quote texts with a comma"
            )
    return [row[0] or None for row in rows[kind.header == "present" :]]


def _from_json(body: bytes, kind: ContentType, declared: Any) -> list[Any]:
    items = _unwrapped(decoding.parse_json(body, kind))
    return [_unwrapped(item) for item in items] if isinstance(items, list) else [items]


def _from_json_lines(body: bytes, kind: ContentType, declared: Any) -> list[Any]:
    return [_unwrapped(line) for line in decoding.parse_json_lines(body, kind, KEYS)]


def _unwrapped(value: Any) -> Any:
    """What a client sent under one of the usual keys."""
    found = [key for key in KEYS if key in value] if isinstance(value, dict) else []
    return value[found[0]] if len(found) == 1 else value


def _from_base64(item: Any, number: int) -> bytes:
    text = item.get("b64") if isinstance(item, dict) else item
    try:
        if not isinstance(text, str):
            raise ValueError
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        raise decoding.bad_body(
            f'item {number} is no base64; send {{"b64": "..."}} or a string of it'
        ) from None


def _images(items: list[bytes]) -> list[Any]:
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
            raise decoding.bad_body(f"image {number} cannot be read: {decoding.one_line(error)}") from None
        if pixels > most:
            raise RequestError(413, f"the images have more than {most} pixels; send smaller ones, or fewer")
        images.append(image)
    return images


TEXT_DECODERS: Mapping[str, Callable[..., list[Any]]] = {
    PLAIN: _plain,
    CSV: _from_csv,
    JSON: _from_json,
    JSON_LINES: _from_json_lines,
}
