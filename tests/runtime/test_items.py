"""Texts, images and other bytes come one by one or several in a request, in every form that clients send."""

from __future__ import annotations

import base64
import gzip
import io
import json
from typing import Any

import numpy as np
import pytest
from byoc import payloads
from byoc.errors import RequestError
from byoc.inputs import Images, Inputs, Media, Text
from PIL import Image

CSV, JSON, JSON_LINES, PLAIN = "text/csv", "application/json", "application/jsonlines", "text/plain"
TEXTS = ["great film", "a, b"]


def decoded(body: bytes, content_type: str, declared: Inputs | None) -> Any:
    return payloads.decoder(declared)(body, content_type)


def refusal(body: bytes, content_type: str, declared: Inputs | None) -> RequestError:
    with pytest.raises(RequestError) as refused:
        decoded(body, content_type, declared)
    assert "\n" not in refused.value.reason
    return refused.value


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    "content_type, body",
    [
        (JSON, as_json({"inputs": TEXTS})),
        (JSON, as_json({"instances": TEXTS})),
        (JSON, as_json({"instances": [{"text": text} for text in TEXTS]})),
        (JSON, as_json({"text": TEXTS})),
        (JSON, b"\xef\xbb\xbf" + as_json(TEXTS)),
        (JSON, as_json(TEXTS)),
        (JSON_LINES, b'"great film"\n"a, b"\n'),
        (JSON_LINES, b'{"text": "great film"}\n{"text": "a, b"}'),
        (JSON_LINES, b'{"inputs": "great film"}\n{"inputs": "a, b"}'),
        (CSV, b'great film\n"a, b"\n'),
        ("text/csv; header=present", b'review\r\ngreat film\r\n\r\n"a, b"\r\n'),
        (f"{CSV}; charset=utf-16", 'great film\n"a, b"'.encode("utf-16")),
    ],
)
def test_texts_come_as_a_list_of_strings(content_type: str, body: bytes) -> None:
    assert decoded(body, content_type, Text()) == TEXTS


@pytest.mark.parametrize(
    "content_type, body",
    [
        (PLAIN, b"great film"),
        (f"{PLAIN}; charset=utf-8", b"great film"),
        (PLAIN, b"\xef\xbb\xbfgreat film"),
        (JSON, b'"great film"'),
        (JSON, b'{"inputs": "great film"}'),
        (JSON, b'{"text": "great film"}'),
    ],
)
def test_one_text_needs_no_list(content_type: str, body: bytes) -> None:
    assert decoded(body, content_type, Text()) == ["great film"]
    assert decoded(body, content_type, None).tolist() == ["great film"]


def test_one_text_may_be_named_twice() -> None:
    assert decoded(b'{"inputs": {"text": "great film"}}', JSON, Text()) == ["great film"]


def test_a_csv_may_hold_a_long_text() -> None:
    assert decoded(b"x" * 200_000 + b"\n", CSV, Text()) == ["x" * 200_000]


def test_a_plain_text_is_one_text_and_in_a_batch_one_per_line(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b"great\nfilm\n"
    assert decoded(body, PLAIN, Text()) == ["great\nfilm\n"]
    monkeypatch.setenv("SAGEMAKER_BATCH", "true")
    assert decoded(body, PLAIN, Text()) == ["great", "film"]
    assert decoded(body, PLAIN, None).tolist() == ["great", "film"]


@pytest.mark.parametrize(
    "content_type, body, status, reason",
    [
        (JSON, b'{"inputs": ["x", 5]}', 400, "text 2 is 5; send a text"),
        (JSON, b'{"inputs": [null]}', 400, "text 1 is None"),
        (JSON, b'{"inputs": []}', 400, "holds nothing"),
        (JSON, b'{"nonsense": "x"}', 400, "text 1 is {'nonsense': 'x'}"),
        (JSON, b'{"nonsense": "x"}', 400, 'send a text, as in {"inputs": ["..."]}'),
        (f"{PLAIN}; charset=latin-1", gzip.compress(b"x", mtime=0), 400, "compressed by gzip"),
        (JSON_LINES, b'"x"\n["y"]', 400, "text 2 is ['y']"),
        (CSV, b"x\na, b\n", 400, "row 2 has 2 values; row 1 has 1"),
        (CSV, b'x\n""\n', 400, "text 2 is None"),
        (PLAIN, b"\xff", 400, "not valid utf-8"),
        ("image/png", b"x", 415, "text/plain, text/csv, application/json, application/jsonlines"),
    ],
)
def test_a_bad_text_is_refused_with_its_place(
    content_type: str, body: bytes, status: int, reason: str
) -> None:
    refused = refusal(body, content_type, Text())
    assert refused.status == status
    assert reason in refused.reason


def picture(color: str, side: int = 4, form: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (side, side), color).save(out, form)
    return out.getvalue()


RED, BLUE = picture("red"), picture("blue", form="GIF")
B64 = [base64.b64encode(image).decode() for image in (RED, BLUE)]


@pytest.mark.parametrize(
    "content_type, body",
    [
        (JSON, as_json({"instances": [{"b64": text} for text in B64]})),
        (JSON, as_json({"inputs": B64})),
        (JSON, as_json({"images": B64})),
        (JSON, as_json(B64)),
        (JSON, as_json([f"data:image/png;base64,{text}" for text in B64])),
        (JSON_LINES, b"\n".join(as_json({"b64": text}) for text in B64)),
        (JSON_LINES, b"\n".join(as_json({"image": text}) for text in B64)),
        (JSON_LINES, b"\n".join(as_json(f"{text[:20]}\n{text[20:]}") for text in B64)),
    ],
)
def test_several_images_come_as_base64(content_type: str, body: bytes) -> None:
    assert decoded(body, content_type, Media("image/*")) == [RED, BLUE]
    images = decoded(body, content_type, Images())
    assert [image.convert("RGB").getpixel((0, 0)) for image in images] == [(255, 0, 0), (0, 0, 255)]


@pytest.mark.parametrize("content_type", ["image/png", "application/x-image", "application/octet-stream"])
def test_one_image_is_the_body(content_type: str) -> None:
    assert [image.size for image in decoded(RED, content_type, Images())] == [(4, 4)]
    undeclared = decoded(RED, content_type, None)
    assert undeclared.dtype == object and undeclared.tolist() == [RED]
    assert type(undeclared[0]) is np.bytes_


@pytest.mark.parametrize(
    "content_type, body, status, reason",
    [
        ("image/png", RED[:30], 400, "image 1 cannot be read"),
        ("image/png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 400, "image 1 cannot be read"),
        (JSON, as_json({"inputs": [B64[0], "eA=="]}), 400, "image 2 cannot be read; send one of JPEG, PNG"),
        (JSON, as_json({"inputs": [B64[0], ""]}), 400, "item 2 is no base64"),
        (JSON, as_json({"inputs": [B64[0], "?"]}), 400, "item 2 is no base64"),
        (JSON, as_json({"inputs": [B64[0], 5]}), 400, "item 2 is no base64"),
        (JSON, as_json({"inputs": [{"url": "x"}]}), 400, "item 1 is no base64"),
        (CSV, b"x", 415, "send image/*, application/x-image, application/octet-stream, application/json"),
    ],
)
def test_a_bad_image_is_refused_with_its_place(
    content_type: str, body: bytes, status: int, reason: str
) -> None:
    refused = refusal(body, content_type, Images())
    assert refused.status == status
    assert reason in refused.reason


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("most", [20, 8])  # Pillow itself refuses twice as many pixels as it warns of
def test_images_of_too_many_pixels_are_refused_before_they_are_unpacked(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", most)
    two = as_json({"inputs": [B64[0], B64[0]]})
    assert refusal(two, JSON, Images()).status == 413


def test_media_are_bytes_of_the_declared_types_only() -> None:
    assert decoded(b"RIFF", "audio/wav", Media("audio/wav", "video/*")) == [b"RIFF"]
    assert decoded(b"\x00", "video/mp4", Media("audio/wav", "video/*")) == [b"\x00"]
    assert refusal(RED, "image/png", Media("audio/wav")).status == 415
