"""Pydantic's errors as sentences: file and line, key, what is wrong, and what was probably meant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from evalkit.config.base import Section
from evalkit.config.launch import KINDS
from evalkit.config.redact import is_secret_name, redact_url
from evalkit.config.schema import EndpointConfig
from evalkit.config.yaml import MAX_PROBLEMS, KeyPath, Node, dotted, told
from evalkit.errors import nearest

_SHOWN_CHARACTERS: Final = 60

# Pydantic puts the branch of a union that it took into an error's location; no file holds these.
_BRANCHES: Final = frozenset({*KINDS, "folder", "folders", "count", "auto"})
_KINDS: Final = f"{', '.join(KINDS[:-1])} or {KINDS[-1]}"

_BOUNDS: Final = {
    "greater_than": ("greater than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def problems(error: ValidationError, tree: Node) -> str:
    """One line for each error, in the order of the files; a long list is cut."""
    located = [(_locate(tree, detail["loc"]), detail) for detail in error.errors(include_url=False)]
    located.sort(key=lambda pair: _order(tree, pair[0]))
    first = located[:MAX_PROBLEMS]
    sentences = dict.fromkeys(_sentence(tree, path, detail) for path, detail in first)
    return told(list(sentences), more=len(located) - len(first))


def _locate(tree: Node, location: tuple[int | str, ...]) -> KeyPath:
    """An error's location without the names of union branches."""
    path: list[str | int] = []
    node: Node | None = tree
    for part in location:
        child = node.child(part) if node is not None else None
        if child is None and part in _BRANCHES:
            continue
        if child is None and node is not None and not isinstance(node.value, Mapping | tuple):
            continue  # a branch below a plain value
        path.append(part)
        node = child
    return tuple(path)


def _find(tree: Node, path: KeyPath) -> Node | None:
    node: Node | None = tree
    for part in path:
        node = node.child(part) if node is not None else None
    return node


def _place(tree: Node, path: KeyPath) -> str:
    """File and line of a key, else of the nearest section around it; a missing key of the file itself has no line."""
    while path:
        node = _find(tree, path)
        if node is not None:
            return str(node.origin)
        path = path[:-1]
    return tree.origin.source


def _order(tree: Node, path: KeyPath) -> tuple[str, int]:
    """Problems are told file by file, from the top; what has no line comes first."""
    node = _find(tree, path) if path else None
    return (tree.origin.source, 0) if node is None else (node.origin.source, node.origin.line or 0)


def _sentence(tree: Node, path: KeyPath, detail: ErrorDetails) -> str:
    kind = detail["type"]
    if kind == "extra_forbidden":
        return f"{_place(tree, path)}: {_unknown(tree, path)}"
    if kind == "missing":
        return f"{_place(tree, path[:-1])}: {dotted(path)} is missing{_purpose(tree, path)}"
    if kind == "conflict":
        return _conflict(tree, path, detail)
    if kind == "union_tag_not_found":
        return f"{_place(tree, path)}: {dotted((*path, 'kind'))} is missing: it is {_KINDS}"
    if kind == "union_tag_invalid":
        path = (*path, "kind")
        return f"{_place(tree, path)}: {dotted(path)}: must be {_KINDS}{_not(tree, path)}"
    key = dotted(path) or "the file"
    return f"{_place(tree, path)}: {key}: {_wrong(detail)}{_not(tree, path, kind)}{_mend(tree, path, kind)}"


def _conflict(tree: Node, path: KeyPath, detail: ErrorDetails) -> str:
    context = detail.get("ctx", {})
    places = [str(node.origin) for key in context["keys"] if (node := _find(tree, (*path, key))) is not None] or [
        _place(tree, path)
    ]
    inside = f"{dotted(path)}: " if path else ""
    return f"{', '.join(dict.fromkeys(places))}: {inside}{context['message']}"


def _wrong(detail: ErrorDetails) -> str:
    """What a value must be, from pydantic's kind of error."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        bound = context[key]
        return f"must be {words} {int(bound) if bound == int(bound) else bound}"
    if kind == "literal_error":
        return f"must be {context['expected']}"
    known: dict[str, str] = {
        "int_type": "must be an integer",
        "int_parsing": "must be an integer",
        "int_parsing_size": "must be a smaller integer",
        "int_from_float": "must be an integer",
        "float_type": "must be a number",
        "float_parsing": "must be a number",
        "finite_number": "must be a finite number",
        "bool_type": "must be true or false",
        "bool_parsing": "must be true or false",
        "string_type": "must be text",
        "string_too_short": "must not be empty",
        "path_type": "must be the path of a file or folder",
        "tuple_type": "must be a list",
        "list_type": "must be a list",
        "dict_type": "must be a mapping",
        "mapping_type": "must be a mapping",
        "model_type": "must be a mapping",
        "model_attributes_type": "must be a mapping",
        "too_short": "must have at least one entry",
        "too_long": f"must have at most {context.get('max_length')} entries",
        "string_pattern_mismatch": f"must match {context.get('pattern')}",
    }
    return known.get(kind, detail["msg"])


def _not(tree: Node, path: KeyPath, kind: str = "") -> str:
    """What stands there, as in ", not 'many'"; nothing where it may be secret."""
    node = _find(tree, path)
    if node is None or _is_secret(path):
        return ""
    value = node.value
    if isinstance(value, Mapping | tuple):
        wanted_another_type = kind.endswith("_type") or not kind
        shown = "a mapping" if isinstance(value, Mapping) else "a list"
        return f", not {shown}" if wanted_another_type else ""
    if value is None:
        return ", not empty"
    if isinstance(value, bool):
        return f", not {str(value).lower()}"
    text = redact_url(value) if isinstance(value, str) and "@" in value else value
    shown = repr(text)
    return f", not {shown if len(shown) <= _SHOWN_CHARACTERS else shown[:_SHOWN_CHARACTERS] + '...'}"


def _is_secret(path: KeyPath) -> bool:
    """True where a value may be a key, or where someone may have put one by mistake."""
    names = [part for part in path if isinstance(part, str)]
    return (
        "headers" in names or "api_key_env" in names or any(is_secret_name(name) for name in names) or "argv" in names
    )


def _mend(tree: Node, path: KeyPath, kind: str) -> str:
    node = _find(tree, path)
    if kind == "string_type" and node is not None and isinstance(node.value, float | bool):
        return ": put quotes around it"
    return ""


# ---------------------------------------------------------------- unknown keys


def _unknown(tree: Node, path: KeyPath) -> str:
    section, key = path[:-1], str(path[-1])
    model = _section_at(tree, section)
    known = _keys(model) if model is not None else []
    inside = f" in {dotted(section)}" if section else ""
    return f"unknown key '{key}'{inside}{_suggestion(key, known, top=not section)}"


def _suggestion(key: str, known: list[str], *, top: bool) -> str:
    elsewhere = _elsewhere()
    if key in elsewhere:
        return f": did you mean '{elsewhere[key]}'?"
    candidates: list[tuple[list[str], Callable[[str], str]]] = [
        (known + (["extends"] if top else []), lambda name: name),
        (list(elsewhere), lambda name: elsewhere[name]),
    ]
    for names, shown in candidates:
        near = nearest(key.lower(), names, cutoff=0.65)
        if near is not None:
            return f": did you mean '{shown(near)}'?"
    return f": the keys here are {', '.join(sorted(known))}" if known else ""


def _elsewhere() -> dict[str, str]:
    """Every key with its place in the file, for a key that was written into the wrong section."""
    keys = {name: name for name in _keys(EndpointConfig)}
    for name in ("sampling", "limits", "tls", "thinking"):
        for model in _sections(EndpointConfig.model_fields[name]):
            for key in _keys(model):
                keys.setdefault(key, f"{name}.{key}")
    return keys


def _keys(model: type[BaseModel]) -> list[str]:
    return list(model.model_fields)


def _section_at(tree: Node, path: KeyPath) -> type[Section] | None:
    """The model that reads the section at `path`; None inside a free mapping."""
    model: type[Section] | None = EndpointConfig
    node: Node | None = tree
    for part in path:
        node = node.child(part) if node is not None else None
        if isinstance(part, int) or model is None:
            continue
        field = model.model_fields.get(part)
        candidates = list(_sections(field)) if field is not None else []
        model = _chosen(candidates, node)
    return model


def _chosen(candidates: list[type[Section]], node: Node | None) -> type[Section] | None:
    """The only candidate, or the one whose `kind` stands in the file."""
    if len(candidates) <= 1:
        return candidates[0] if candidates else None
    kind = node.child("kind") if node is not None else None
    for candidate in candidates:
        if kind is not None and kind.value in get_args(candidate.model_fields["kind"].annotation):
            return candidate
    return None


def _sections(field: FieldInfo) -> Iterator[type[Section]]:
    """The models within a field's annotation, through lists, unions and Annotated."""
    yield from dict.fromkeys(_within(field.annotation))


def _within(annotation: Any) -> Iterator[type[Section]]:
    if isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for argument in get_args(annotation):
        yield from _within(argument)


def _purpose(tree: Node, path: KeyPath) -> str:
    """What a missing key is for, from its description."""
    model = _section_at(tree, path[:-1])
    field = model.model_fields.get(str(path[-1])) if model is not None else None
    if field is None or not field.description:
        return ""
    first = field.description.partition(";")[0].rstrip(".").partition(". ")[0]
    return f": {first[:1].lower()}{first[1:]}"
