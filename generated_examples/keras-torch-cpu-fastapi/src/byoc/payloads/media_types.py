"""The media types of requests and responses, and the headers that name them (S-26, B-11)."""

from functools import lru_cache
from typing import NamedTuple

from byoc.errors import RequestError

CSV = "text/csv"
JSON = "application/json"
JSON_LINES = "application/jsonlines"
NPY = "application/x-npy"
PARQUET = "application/x-parquet"
ALL = (CSV, JSON, JSON_LINES, NPY, PARQUET)
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


class ContentType(NamedTuple):
    """What a Content-Type header says of a body."""

    media_type: str
    charset: str = "utf-8"
    # RFC 4180's parameter: "present", "absent", or empty where the client does not say.
    header: str = ""


@lru_cache(maxsize=64)
def negotiate(accept: str | None, content_type: str | None = None) -> str:
    """Choose the response's media type from an Accept header with q-values.

    Without a preference the answer has the request's own type, which batch transform relies on (B-11).
    Raises RequestError 406 when nothing acceptable can be produced.
    """
    request_type = parse_content_type(content_type).media_type
    preferred = [request_type] if request_type in ALL else []
    preferred += [m for m in (JSON, CSV, JSON_LINES, NPY, PARQUET) if m not in preferred]
    if not accept or not accept.strip():
        return preferred[0]
    ranges = _parse_accept(accept)

    def quality(media_type: str) -> float:
        main = media_type.partition("/")[0]
        for candidate in (media_type, f"{main}/*", "*/*"):  # the most specific range decides
            if candidate in ranges:
                return ranges[candidate]
        return 0.0

    best = max(preferred, key=quality)  # the first of equals
    if quality(best) <= 0:
        raise RequestError(406, f"Accept {accept[:200]!r} cannot be met; ask for {', '.join(ALL)}")
    return best


@lru_cache(maxsize=64)
def parse_content_type(header: str | None) -> ContentType:
    """Split a Content-Type header; no header means CSV in UTF-8. Raises RequestError 415 for its charset."""
    media_type, *parameters = (header or CSV).split(";")
    given: dict[str, str] = {}
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        given[name.strip().lower()] = value.strip().strip('"').lower()
    charset = given.get("charset", "utf-8")
    if charset not in CHARSETS:
        raise RequestError(415, f"charset {charset[:200]!r} is not accepted; send utf-8")
    media_type = media_type.strip().lower()
    return ContentType(ALIASES.get(media_type, media_type), charset, given.get("header", ""))


def _parse_accept(header: str) -> dict[str, float]:
    ranges: dict[str, float] = {}
    for part in header.split(","):
        media_type, *parameters = (p.strip().lower() for p in part.split(";"))
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                try:
                    quality = float(parameter[2:])
                except ValueError:
                    quality = 0.0
        ranges[ALIASES.get(media_type, media_type)] = quality
    return ranges
