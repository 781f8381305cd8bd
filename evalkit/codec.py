"""Values as JSON and back: one writer and one strict reader for every document of dataclasses that evalkit keeps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

from evalkit.errors import UsageError

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


def dump(value: object, indent: int | None = None) -> str:
    """A value as JSON: dataclasses and mappings as objects, decimals as numbers, dates as texts.

    Raises:
        ValueError: a number is NaN or infinite, which JSON has no word for (None is the word for "no value").
        TypeError: something that is none of these.
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain, indent=indent)


def encode(text: str) -> bytes:
    """UTF-8; lone surrogates, which it cannot hold, become U+FFFD."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _plain(value: object) -> object:
    """One level of what JSON has no word for."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: getattr(value, f.name) for f in fields(value)}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"a document cannot hold a {type(value).__name__}")


def read(kind: type[T], data: str | bytes) -> T:
    """A dataclass from its JSON; nothing is guessed, converted or ignored.

    Raises:
        UsageError: naming the place in the document and what is wrong there.
    """
    from pydantic import ValidationError  # 0.1 s that `--help` must not pay

    text = data if isinstance(data, bytes) else data.encode("utf-8", "replace")
    try:
        made: T = adapter(cast(Any, kind)).validate_json(b"[" + text + b"]")[0]
    except ValidationError as error:
        raise UsageError(_first_problem(error)) from None
    return made


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """The validator; the one-element tuple carries the configuration, which a plain dataclass cannot be given."""
    from pydantic import ConfigDict, TypeAdapter

    strict = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
    return TypeAdapter(tuple[kind], config=strict)


def _first_problem(error: ValidationError) -> str:
    problems: list[Any] = error.errors(include_url=False, include_input=False)
    first = problems[0]
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"][1:]).lstrip(".")
    message = first["msg"]
    if first["type"] == "unexpected_keyword_argument":
        message = "this key is not known"
    elif first["type"] in {"missing", "missing_argument"}:
        message = "this key is missing"
    more = f" ({len(problems) - 1} more problems follow)" if len(problems) > 1 else ""
    return f"at {place or 'the top'}: {message}{more}"
