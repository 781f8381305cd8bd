"""The tests of a coding question: public ones as JSON, private ones as JSON or base64 of zlib of a pickle of JSON.

A pickle can run code when it is loaded, and a data set is others' text: the unpickler here refuses every global, so
only plain values come out, and of those only the one text that is expected is used.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import pickle
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from evalkit.errors import DataError
from evalkit.scoring.livebench.grade import name_of

LARGEST_UNPACKED: Final = 512 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Case:
    """One test: what the program gets, and what it has to print or return."""

    given: str
    expected: str


class NoGlobals(pickle.Unpickler):
    """An unpickler for plain values: it looks up no class and no function, so a pickle has nothing to call."""

    def find_class(self, module: str, name: str) -> NoReturn:
        """Refuse: `module.name` is what a pickle would call."""
        raise pickle.UnpicklingError(f"the pickle asks for {module}.{name}")


def cases_of(doc: Mapping[str, Any]) -> tuple[Case, ...]:
    """The public tests and then the private ones, never none.

    Raises:
        DataError: there are none, or they cannot be read.
    """
    cases = (*_read(doc, "public_test_cases"), *_read(doc, "private_test_cases"))
    if not cases:
        raise DataError(f"{name_of(doc)} has no tests: a program that is tested by nothing would pass.")
    return cases


def _read(doc: Mapping[str, Any], column: str) -> list[Case]:
    raw = doc.get(column)
    if raw is None or raw == "":
        return []
    try:
        tests = _tests(raw)
        return [Case(given=test["input"], expected=test["output"]) for test in tests]
    except (ValueError, TypeError, KeyError, EOFError, IndexError, zlib.error, pickle.UnpicklingError) as error:
        raise DataError(f"{name_of(doc)}: the column {column} cannot be read as tests ({error}).") from error


def _tests(raw: Any) -> Any:
    if not isinstance(raw, str):
        return raw
    try:
        return json.loads(raw)
    except ValueError:
        return json.loads(unpack(raw))


def unpack(packed: str) -> str:
    """The text inside base64 + zlib + pickle.

    Raises:
        ValueError: it is not base64, or unpacks to more than 512 MiB.
        zlib.error: it is not compressed with zlib.
        pickle.UnpicklingError: it is no pickle, would call something, or holds something else than one text.
    """
    try:
        compressed = base64.b64decode(packed, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from None
    inflate = zlib.decompressobj()
    pickled = inflate.decompress(compressed, LARGEST_UNPACKED)
    if inflate.unconsumed_tail:
        raise ValueError(f"unpacks to more than {LARGEST_UNPACKED} bytes")
    text = NoGlobals(io.BytesIO(pickled)).load()
    if not isinstance(text, str):
        raise pickle.UnpicklingError(f"holds a {type(text).__name__}, not a text")
    return text
