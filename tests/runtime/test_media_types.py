"""Content-Type and Accept: what a body is, and what its answer will be."""

from __future__ import annotations

import tracemalloc

import pytest
from bodies import decode
from byoc.errors import RequestError
from byoc.payloads.bodies import negotiate, parse_content_type


@pytest.mark.parametrize(
    "accept, content_type, chosen",
    [
        (None, "text/csv", "text/csv"),
        ("*/*", "application/json", "application/json"),
        ("application/json", "text/csv", "application/json"),
        ("text/csv;q=0.5, application/json;q=0.9", "text/csv", "application/json"),
        ("application/*, text/csv;q=0.1", "text/csv", "application/json"),
        ("image/png, */*;q=0.1", "application/jsonlines", "application/jsonlines"),
        ("text/csv;q=0, */*", "text/csv", "application/json"),
    ],
)
def test_the_answer_has_the_type_that_the_client_prefers(
    accept: str | None, content_type: str, chosen: str
) -> None:
    assert negotiate(accept, content_type) == chosen


@pytest.mark.parametrize("accept", ["image/png", "text/csv;q=0"])
def test_an_answer_that_the_client_cannot_read_is_refused(accept: str) -> None:
    with pytest.raises(RequestError) as refused:
        negotiate(accept, "text/csv")
    assert refused.value.status == 406


@pytest.mark.parametrize("charset", ["klingon", "punycode", "unicode-escape", "x" * 10_000])
def test_a_charset_that_is_not_for_text_is_refused_with_415(charset: str) -> None:
    with pytest.raises(RequestError, match="send utf-8") as refused:
        decode(b"1,2", f"text/csv; charset={charset}")
    assert refused.value.status == 415
    assert len(refused.value.reason) < 300


def test_ten_thousand_unknown_charsets_leave_no_memory_behind() -> None:
    def refuse(numbers: range) -> None:
        for number in numbers:
            with pytest.raises(RequestError):
                decode(b"1,2", f"text/csv; charset=unknown-{number}")

    refuse(range(100))
    tracemalloc.start()
    refuse(range(100, 1_100))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 200_000  # Python's cache of codecs kept 58 KB of each


def test_a_header_parameter_says_whether_the_first_row_is_one() -> None:
    assert parse_content_type("text/csv; header=present; charset=UTF-8") == ("text/csv", "utf-8", "present")
