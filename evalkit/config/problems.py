"""Pydantic's errors as sentences: file and line, key, what is wrong, and what was probably meant."""

import re
from collections.abc import Mapping
from typing import Any, Final, get_args, get_origin

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from evalkit.config.base import Section
from evalkit.config.launch import KINDS
from evalkit.config.redact import is_secret_name, redact_url
from evalkit.config.schema import EndpointConfig
from evalkit.config.yaml import MAX_PROBLEMS, KeyPath, Node, dotted, find, told
from evalkit.errors import did_you_mean, nearest
from evalkit.resources import toml_file

_SHOWN_CHARACTERS: Final = 60

# Pydantic puts the branch of a union that it took into an error's location; no file holds these.
_BRANCHES: Final = frozenset({*KINDS, "folder", "folders", "count", "auto"})
_KINDS: Final = f"{', '.join(KINDS[:-1])} or {KINDS[-1]}"

# What other programs call a key.
_ALSO_CALLED: Final = {
    **dict.fromkeys(("connections", "max_connections", "num_concurrent", "parallel", "workers"), "concurrency"),
    **dict.fromkeys(("timeout", "timeout_seconds", "request_timeout"), "total_seconds"),
}


def problems(error: ValidationError, tree: Node, model: type[Section] = EndpointConfig) -> str:
    """One line for each error of `model` on `tree`, in the order of the files; a long list is cut."""
    located = [(_locate(tree, detail["loc"], detail["type"]), detail) for detail in error.errors(include_url=False)]
    located.sort(key=lambda pair: _order(tree, pair[0]))
    first = located[:MAX_PROBLEMS]
    sentences = dict.fromkeys(_sentence(tree, model, path, detail) for path, detail in first)
    return told(list(sentences), more=len(located) - len(first))


def _locate(tree: Node, location: tuple[int | str, ...], kind: str) -> KeyPath:
    """An error's location without the names of union branches; where a key is missing, the last is that key."""
    path: list[str | int] = []
    node: Node | None = tree
    for number, part in enumerate(location, 1):
        child = node.child(part) if node is not None else None
        if child is None and part in _BRANCHES and (kind != "missing" or number < len(location)):
            continue
        if child is None and node is not None and not isinstance(node.value, Mapping | tuple):
            continue  # a branch below a plain value
        path.append(part)
        node = child
    return tuple(path)


def _place(tree: Node, path: KeyPath) -> str:
    """File and line of a key, else of the nearest section around it; a missing key of the file itself has no line."""
    nodes = (find(tree, path[:length]) for length in range(len(path), 0, -1))
    return next((str(node.origin) for node in nodes if node is not None), tree.origin.source)


def _order(tree: Node, path: KeyPath) -> tuple[str, int]:
    """Problems are told file by file, from the top; what has no line comes first."""
    node = find(tree, path) if path else None
    return (tree.origin.source, 0) if node is None else (node.origin.source, node.origin.line or 0)


def _sentence(tree: Node, model: type[Section], path: KeyPath, detail: ErrorDetails) -> str:
    kind = detail["type"]
    if kind == "extra_forbidden":
        return f"{_place(tree, path)}: {_unknown(tree, model, path)}"
    if kind == "missing":
        return f"{_place(tree, path[:-1])}: {dotted(path)} is missing{_purpose(tree, model, path)}"
    if kind == "conflict":
        return _conflict(tree, path, detail)
    if kind == "union_tag_not_found":
        return f"{_place(tree, path)}: {dotted((*path, 'kind'))} is missing: it is {_KINDS}"
    if kind == "union_tag_invalid":
        path = (*path, "kind")
        return f"{_place(tree, path)}: {dotted(path)}: must be {_KINDS}{_not(tree, path)}"
    key = dotted(path) or "the file"
    return f"{_place(tree, path)}: {key}: {_wrong(detail)}{_not(tree, path, kind)}{_mend(tree, path, detail)}"


def _conflict(tree: Node, path: KeyPath, detail: ErrorDetails) -> str:
    context = detail.get("ctx", {})
    places = [str(node.origin) for key in context["keys"] if (node := find(tree, (*path, key))) is not None] or [
        _place(tree, path)
    ]
    inside = f"{dotted(path)}: " if path else ""
    return f"{', '.join(dict.fromkeys(places))}: {inside}{context['message']}"


def _wrong(detail: ErrorDetails) -> str:
    """What a value must be, from pydantic's kind of error."""
    numbers = {key: int(v) if isinstance(v, float) and v == int(v) else v for key, v in detail.get("ctx", {}).items()}
    sentences = toml_file("config/problems.toml")
    return str(sentences[detail["type"]]).format(**numbers) if detail["type"] in sentences else detail["msg"]


def _not(tree: Node, path: KeyPath, kind: str = "") -> str:
    """What stands there, as in ", not 'many'"; nothing where it may be secret."""
    node = find(tree, path)
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
    return any(name in {"headers", "api_key_env", "argv"} or is_secret_name(name) for name in names)


def _mend(tree: Node, path: KeyPath, detail: ErrorDetails) -> str:
    value = None if (node := find(tree, path)) is None else node.value
    if detail["type"] == "string_type" and isinstance(value, float | bool):
        return ": put quotes around it"
    if detail["type"] == "literal_error" and isinstance(value, str):
        return did_you_mean(value, re.findall(r"'([^']*)'", detail["ctx"]["expected"]), "")
    return ""


# Unknown and missing keys


def _unknown(tree: Node, model: type[Section], path: KeyPath) -> str:
    section, key = path[:-1], str(path[-1])
    inner = _section_at(tree, model, section)
    inside = f" in {dotted(section)}" if section else ""
    known = [] if inner is None else list(inner.model_fields)
    if model is not EndpointConfig:
        return f"unknown key '{key}'{inside}{_meant(key, {name: name for name in known})}"
    here = {name: name for name in [*known, *([] if section else ["extends"])]}
    elsewhere, name = _elsewhere(), _ALSO_CALLED.get(key, key)
    exact = here.get(name) or elsewhere.get(name)
    meant = f": did you mean '{exact}'?" if exact else _meant(key, here, elsewhere)
    return f"unknown key '{key}'{inside}{meant}"


def _meant(key: str, *places: Mapping[str, str]) -> str:
    """The nearest of the known names, looked for place by place, as it is to be written; else the names here."""
    for names in places:
        near = nearest(key.lower(), names, cutoff=0.65)
        if near is not None:
            return f": did you mean '{names[near]}'?"
    known = ", ".join(sorted(name for name in places[0] if name != "extends"))
    return f": the keys here are {known}" if known else ""


def _elsewhere() -> dict[str, str]:
    """Every key with its place in the file, for a key that was written into the wrong section."""
    keys = {name: name for name in EndpointConfig.model_fields}
    for name in ("sampling", "limits", "tls", "thinking"):
        for model in _sections(EndpointConfig.model_fields[name].annotation):
            for key in model.model_fields:
                keys.setdefault(key, f"{name}.{key}")
    return keys


def _section_at(tree: Node, model: type[Section], path: KeyPath) -> type[Section] | None:
    """The model that reads the section at `path`; None inside a free mapping."""
    inner: type[Section] | None = model
    named = False  # the next part is a name of the user's, in a mapping from names to sections
    for depth, part in enumerate(path, 1):
        if isinstance(part, int) or inner is None or named:
            named = False
            continue
        field = inner.model_fields.get(part)
        annotation = None if field is None else field.annotation
        named = get_origin(annotation) is dict
        inner = _chosen(_sections(annotation), find(tree, (*path[:depth], "kind")))
    return inner


def _chosen(candidates: list[type[Section]], kind: Node | None) -> type[Section] | None:
    """The only candidate, or the one whose `kind` stands in the file."""
    if len(candidates) > 1:
        named = None if kind is None else kind.value
        candidates = [one for one in candidates if named in get_args(one.model_fields["kind"].annotation)]
    return candidates[0] if candidates else None


def _sections(annotation: Any) -> list[type[Section]]:
    """The models within an annotation, through lists, mappings, unions and Annotated."""
    own = [annotation] if isinstance(annotation, type) and issubclass(annotation, Section) else []
    return list(dict.fromkeys([*own, *(one for inner in get_args(annotation) for one in _sections(inner))]))


def _purpose(tree: Node, model: type[Section], path: KeyPath) -> str:
    """What a missing key is for, from its description."""
    section = _section_at(tree, model, path[:-1])
    said = "" if section is None else section.purpose_of(str(path[-1]))
    first = said.partition(";")[0].rstrip(".").partition(". ")[0]
    return f": {first[:1].lower()}{first[1:]}" if first else ""
