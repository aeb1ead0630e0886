"""docs/your-model.md shows models that work: each is loaded and asked here."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from byoc.serving.loaded_model import LoadedModel
from test_items import RED

MODELS = Path(__file__).parent / "your_model"
PAGE = Path(__file__).parents[2] / "docs/your-model.md"


@pytest.mark.parametrize(
    "name, content_type, body, answer",
    [
        ("numbers", "text/csv", b"39.1,18.7\n", b'{"predictions":[57.8]}\n'),
        (
            "table",
            "text/csv",
            b"island,ringed,bill_length_mm\nDream,true,39.1\n",
            b'{"predictions":[{"island":"Dream","bill_length_mm":39.1}]}\n',
        ),
        (
            "texts",
            "application/json",
            b'{"inputs": ["two words", "one"]}',
            b'{"predictions":[[{"word":"two","label":"O"},{"word":"words","label":"O"}],'
            b'[{"word":"one","label":"O"}]]}\n',
        ),
        ("images", "image/png", RED, b'{"predictions":[{"width":4,"height":4}]}\n'),
        ("hooks", "application/x-words", b"two words", b"TWO WORDS"),
    ],
)
def test_the_page_shows_this_model_and_it_answers(
    load: Callable[..., LoadedModel], name: str, content_type: str, body: bytes, answer: bytes
) -> None:
    file = MODELS / f"{name}.py"
    assert f"```python\n{file.read_text()}```" in PAGE.read_text()
    names: dict[str, Any] = {k: v for k, v in runpy.run_path(str(file)).items() if not k.startswith("_")}
    response = load(**names).invoke(body, content_type, "application/json")
    assert (response.status, response.body) == (200, answer)
