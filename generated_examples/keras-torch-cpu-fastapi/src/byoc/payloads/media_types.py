"""The media types of requests and responses, and the headers that name them (S-26, B-11)."""

import codecs

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
# Python's own encodings of text, which nobody sends and some of which take hours for a large body.
NO_CHARSETS = {"idna", "punycode", "raw-unicode-escape", "unicode-escape"}


def negotiate(accept: str | None, content_type: str | None = None) -> str:
    """Choose the response's media type from an Accept header with q-values.

    Without a preference the answer has the request's own type, which batch transform relies on (B-11).
    Raises RequestError 406 when nothing acceptable can be produced.
    """
    request_type = parse_content_type(content_type)[0]
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


def parse_content_type(header: str | None) -> tuple[str, str]:
    """Media type and charset of a Content-Type header; CSV in UTF-8 where it says nothing."""
    media_type, *parameters = (header or CSV).split(";")
    charset = "utf-8"
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = value.strip().strip('"').lower()
    media_type = media_type.strip().lower()
    try:
        "".encode(charset)
        if charset != "utf-8" and codecs.lookup(charset).name in NO_CHARSETS:
            raise LookupError
    except (LookupError, ValueError):
        raise RequestError(415, f"charset {charset[:200]!r} is unknown; send utf-8") from None
    return ALIASES.get(media_type, media_type), charset


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
