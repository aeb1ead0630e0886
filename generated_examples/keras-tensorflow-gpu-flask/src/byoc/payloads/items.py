"""Bodies become lists of texts, images or other bytes, one item for each prediction (B-10)."""

import base64
import csv
import io
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from byoc.errors import RequestError
from byoc.inputs import Images, Media, Text
from byoc.payloads import bodies
from byoc.payloads.bodies import CSV, JSON, JSON_LINES, ContentType, bad_body

PLAIN = "text/plain"
ANY = "application/octet-stream"
# Keys under which clients send several items, or one.
KEYS = {"instances", "inputs", "text", "texts", "images", "image", "data"}
Decoder = Callable[..., list[Any]]
# Pillow would start other programs for some formats.
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")


def decode_text(body: bytes, content_type: str | None, declared: Text) -> list[str]:
    """Decode a body to texts. Raises RequestError 400 for a bad body, 415 for an unknown type."""
    texts: list[str] = _read(body, content_type, TEXT_DECODERS, declared)
    for number, text in enumerate(texts, start=1):
        if not isinstance(text, str):
            raise bad_body(f'text {number} is {repr(text)[:200]}; send a text, as in {{"inputs": ["..."]}}')
    return texts


def decode_media(body: bytes, content_type: str | None, declared: Media) -> list[Any]:
    """Decode a body to bytes, or to images where Images() is declared.

    Raises RequestError 400 for a bad body or image, 413 for too many pixels, 415 for an unknown type.
    """
    types = dict.fromkeys((*declared.media_types, ANY), whole)
    sent = _read(body, content_type, {**types, JSON: _from_json, JSON_LINES: _from_json_lines}, declared)
    items = [item if isinstance(item, bytes) else _from_base64(item, n) for n, item in enumerate(sent, 1)]
    return _images(items) if isinstance(declared, Images) else items


def _read(body: bytes, content_type: str | None, decoders: Mapping[str, Decoder], declared: Any) -> Any:
    if items := bodies.read(body, content_type, decoders, declared):
        return items
    raise bad_body("the body holds nothing")


def whole(body: bytes, kind: ContentType, declared: Any) -> list[bytes]:
    return [body]


def _plain(body: bytes, kind: ContentType, declared: Text) -> list[str]:
    text = kind.text(body)
    if os.environ.get("SAGEMAKER_BATCH", "").lower() != "true":
        return [text]
    return [line.rstrip("\r") for line in text.split("\n") if line.strip()]  # batch transform splits a file


def csv_rows(body: bytes, kind: ContentType) -> list[list[str]]:
    """The rows of a CSV whose columns have no names; its header is one only if the client says so."""
    text = kind.text(body)
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    for number, row in enumerate(rows, start=1):
        if len(row) != len(rows[0]):
            raise bad_body(f"row {number} has {len(row)} values; row 1 has {len(rows[0])}")
    return rows[kind.header == "present" :]


def _from_csv(body: bytes, kind: ContentType, declared: Text) -> list[Any]:
    rows = csv_rows(body, kind)
    if rows and len(rows[0]) > 1:
        raise bad_body(f"a row has {len(rows[0])} columns; send one, and quote texts with a comma")
    return [row[0] or None for row in rows]


def _from_json(body: bytes, kind: ContentType, declared: Any) -> list[Any]:
    items = bodies.unwrapped(bodies.parse_json(body, kind), KEYS)
    return [bodies.unwrapped(item, KEYS) for item in (items if isinstance(items, list) else [items])]


def _from_json_lines(body: bytes, kind: ContentType, declared: Any) -> list[Any]:
    return [bodies.unwrapped(line, KEYS) for line in bodies.parse_json_lines(body, kind)]


def _from_base64(item: Any, number: int) -> bytes:
    text: Any = item.get("b64") if isinstance(item, dict) else item
    try:
        text = "".join(text.split())
        decoded = base64.b64decode(text.partition(";base64,")[2] or text, validate=True)  # or a URL of data
    except (ValueError, AttributeError):
        decoded = b""
    if not decoded:
        raise bad_body(f'item {number} is no base64; send {{"b64": "..."}} or a string of it')
    return decoded


def _images(items: Sequence[bytes]) -> list[Any]:
    from PIL import Image, UnidentifiedImageError  # only models that declare Images() have it

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
        except UnidentifiedImageError:
            raise bad_body(f"image {number} cannot be read; send one of {', '.join(FORMATS)}") from None
        except Exception as error:  # each format has its own exceptions
            raise bad_body(f"image {number} cannot be read: {bodies.one_line(error)}") from None
        if pixels > most:
            raise RequestError(413, f"the images have more than {most} pixels; send smaller ones, or fewer")
        images.append(image)
    return images


TEXT_DECODERS: Mapping[str, Decoder] = {
    PLAIN: _plain,
    CSV: _from_csv,
    JSON: _from_json,
    JSON_LINES: _from_json_lines,
}
