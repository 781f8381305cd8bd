"""JSON as servers really write it: orjson first, and a slow second reading for what orjson refuses.

Python and JavaScript servers emit `NaN` and `-Infinity` (log-probabilities), byte-order marks, and escapes of half a
surrogate pair (a stream cut inside an emoji). A reply is worth more than its server's JSON library: numbers that are
none become null, halves that meet again are joined, and a half that stays alone becomes U+FFFD. Invalid UTF-8 and
truncated documents stay errors.
"""

from __future__ import annotations

import json
from typing import Any

import orjson


def loads(data: bytes) -> Any:
    """Read one JSON document.

    Raises:
        ValueError: it is not JSON, is not UTF-8, or is nested too deeply.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as refused:
        try:
            return json.loads(data.decode("utf-8-sig"), parse_constant=_null)
        except RecursionError:
            raise refused from None


def dumps(document: Any) -> bytes:
    """Write a document that `loads` made as one line of valid JSON in UTF-8.

    Raises:
        ValueError: it holds a number beyond any float, or is nested too deeply.
    """
    try:
        return orjson.dumps(document)
    except orjson.JSONEncodeError as refused:
        try:
            text = json.dumps(document, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        except RecursionError:
            raise ValueError("nested too deeply") from refused
    # UTF-16 is where surrogates live: a pair becomes its character, one alone is replaced.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _null(_name: str) -> None:
    return None
