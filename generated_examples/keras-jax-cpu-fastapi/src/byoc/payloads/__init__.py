"""Requests become arrays and predictions become responses, by media type (S-26, B-10)."""

from byoc.payloads.decoding import Array, decode
from byoc.payloads.encoding import encode
from byoc.payloads.media_types import ALL, CSV, JSON, JSON_LINES, NPY, PARQUET, negotiate

__all__ = ["ALL", "CSV", "JSON", "JSON_LINES", "NPY", "PARQUET", "Array", "decode", "encode", "negotiate"]
