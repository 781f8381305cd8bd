"""Values as JSON and back, by one writer and one strict reader; and in which keys two documents differ.

Pydantic is loaded where something is read: a comparison of stored runs names what differs without it.
"""

from __future__ import annotations

import json
from collections import abc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Final, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from evalkit.errors import UsageError
from evalkit.model import Difference, Reason

if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

T = TypeVar("T")


def dump(value: object, indent: int | None = None) -> str:
    """A value as JSON: dataclasses and mappings as objects, decimals as numbers, dates as texts.

    Raises `ValueError`: a number is NaN or infinite, which JSON has no word for (None is the word for "no value");
    `TypeError`: something that is none of these.
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

    Raises `UsageError`: naming the place in the document and what is wrong there.
    """
    from pydantic import ValidationError  # 0.1 s that `--help` must not pay

    text = data if isinstance(data, bytes) else data.encode("utf-8", "replace")
    try:
        made: T = adapter(cast(Any, kind)).validate_json(b"[" + text + b"]")[0]
    except ValidationError as error:
        raise UsageError(_first_problem(error)) from None
    return checked(made)


_LARGEST: Final = 1e20  # a seed may have 64 bits; beyond, points and percent of a number need not be one


def checked(made: T) -> T:
    """The value, where its numbers are such as evalkit writes. Raises `UsageError`: naming one that is beyond."""
    for place, number in _numbers(made, ""):
        if abs(number) > _LARGEST:
            raise UsageError(f"at {place.lstrip('.')}: there is no such number: {number!s:.40}")
    return made


def _numbers(value: object, place: str) -> Iterator[tuple[str, float]]:
    """All numbers in a value, with their places."""
    if isinstance(value, int | float):
        yield place, value
    elif is_dataclass(value):
        for f in fields(value):
            yield from _numbers(getattr(value, f.name), f"{place}.{f.name}")
    elif isinstance(value, Mapping):
        for name, one in value.items():
            yield from _numbers(one, f"{place}.{name}")
    elif isinstance(value, list | tuple):
        for number, one in enumerate(value):
            yield from _numbers(one, f"{place}[{number}]")


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


def made_of(kind: type[T], said: Any) -> T:
    """A dataclass from a JSON object whose keys are its fields, checked one by one; only a `Reason` loads pydantic.

    Fields may be strings, numbers, booleans, null, mappings and sequences of those, and such dataclasses.

    Raises `UsageError`: naming the key and what is wrong with it.
    """
    if not isinstance(said, dict):
        raise UsageError(f"{said!r:.40} is no object")
    hints = _hints(cast(Any, kind))
    made = {}
    for name, value in said.items():
        if name not in hints:
            raise UsageError(f"{name}: this key is not known")
        try:
            made[name] = _held(value, hints[name])
        except TypeError:
            raise UsageError(f"{name}: {value!r:.40} is not what this key holds") from None
        except UsageError as error:
            raise UsageError(f"{name}: {error}") from None
    try:
        return kind(**made)
    except TypeError as error:
        raise UsageError(str(error).partition("__() ")[2] or str(error)) from None


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _held(value: Any, hint: Any) -> Any:
    """A value as a field of this type holds it; a `TypeError` for one that is of another."""
    of, inside = get_origin(hint), get_args(hint)
    if of in {Union, UnionType}:
        return None if value is None else _held(value, next(one for one in inside if one is not NoneType))
    if hint is Reason:
        return read(Reason, json.dumps(value))
    if is_dataclass(hint):
        return made_of(cast(Any, hint), value)
    if of is abc.Mapping and isinstance(value, dict):
        return {name: _held(one, inside[1]) for name, one in value.items()}
    if of is abc.Sequence and isinstance(value, list):
        return [_held(one, inside[0]) for one in value]
    if hint is Any or value.__class__ is hint or (hint is float and value.__class__ is int):
        return value
    raise TypeError


NOT_SET: Final = "(not set)"
MAX_SHOWN_CHARACTERS: Final = 120
_IS_THERE: Final = "(runs)"


def stored_differences(reference: Mapping[str, Any], candidate: Mapping[str, Any]) -> tuple[Difference, ...]:
    """The leaf keys in which two configurations differ, as manifests hold them; secrets are "***" on both sides."""
    left, right = leaves(reference), leaves(candidate)
    return tuple(
        Difference(key, *cut(left.get(key, NOT_SET), right.get(key, NOT_SET))) for key in differing(left, right)
    )


def differing(left: Mapping[str, str], right: Mapping[str, str]) -> list[str]:
    """The keys whose values differ; of a suite that only one side runs, its name alone."""
    keys = sorted(key for key in left.keys() | right.keys() if left.get(key) != right.get(key))
    alone = [key for key in keys if _IS_THERE in {left.get(key), right.get(key)}]
    return [key for key in keys if not any(key.startswith(f"{entry}.") for entry in alone)]


def leaves(value: Any) -> dict[str, str]:
    """Dotted keys of everything that is no mapping, with the value as text; null and empty are left out."""
    return dict(_walk(value, ""))


def _walk(value: Any, key: str) -> Iterator[tuple[str, str]]:
    inside = f"{key}." if key else ""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _walk(item, f"{inside}{name}")
    elif isinstance(value, list) and value and all(isinstance(item, Mapping) and "name" in item for item in value):
        for item in value:
            yield f"{inside}{item['name']}", _IS_THERE
            yield from _walk({name: part for name, part in item.items() if name != "name"}, f"{inside}{item['name']}")
    elif value is not None and value != []:
        yield key, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def cut(one: str, other: str) -> tuple[str, str]:
    """Both texts on one line, cut alike to where they begin to differ."""
    texts = [" ".join(text.split()) for text in (one, other)]
    if max(map(len, texts)) <= MAX_SHOWN_CHARACTERS:
        return texts[0], texts[1]
    start = max(0, (first_difference(*texts) or 0) - MAX_SHOWN_CHARACTERS // 3)
    return _window(texts[0], start), _window(texts[1], start)


def _window(text: str, start: int) -> str:
    end = start + MAX_SHOWN_CHARACTERS
    return f"{'...' if start else ''}{text[start:end]}{'...' if end < len(text) else ''}"


def first_difference(one: Sequence[object], other: Sequence[object]) -> int | None:
    """The number of characters or tokens that two texts share from the start; None where they are the same."""
    if one == other:
        return None
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
