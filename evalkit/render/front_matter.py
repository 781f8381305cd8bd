"""Puts a `model-index` into the front matter of a README that has one already; every other byte of the file stays.

What an earlier call put there for the same data sets gives way; results that others wrote stay in the list. (The
library of the Hub writes the whole front matter anew, and loses its comments and quoting.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import yaml

from evalkit.errors import UsageError

KEY: Final = "model-index"
_OURS: Final = re.compile(r"n=\d+, .*, evalkit \S+")  # a metric's name as `hub.model_index` writes it
_EMPTY: Final = re.compile(r"\s*---(?:\r\n|\r|\n)(?=---[ \t]*(?:\r\n|\n|$))")
_OPENING: Final = re.compile(r"\s*(?=---(?:\r|\n|$))")
_ENCODING_MARK: Final = "\N{ZERO WIDTH NO-BREAK SPACE}"


def into_front_matter(file: bytes, entry: Mapping[str, Any], *, named: bool = False) -> bytes:
    """The file with an entry of a `model-index` (a model's name and its results) in its front matter.

    Args:
        file: the whole README.
        entry: `{"name": ..., "results": [...]}`.
        named: the name was asked for; otherwise the one model that the file names keeps its name.

    Raises:
        UsageError: the file is not UTF-8, or its front matter is not closed, no YAML mapping or not one that can be
            edited.
    """
    from huggingface_hub.repocard import REGEX_YAML_BLOCK

    try:
        text = file.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"the file is not UTF-8 (byte {error.start}): save it as UTF-8 first") from None
    mark, text = (_ENCODING_MARK, text[1:]) if text.startswith(_ENCODING_MARK) else ("", text)
    newline = "\r\n" if "\r\n" in text.partition("\n")[0] + "\n" else "\n"
    empty = _EMPTY.match(text)
    if empty:
        return (mark + text[: empty.end()] + _lines(_dump([entry]), newline) + text[empty.end() :]).encode()
    match = REGEX_YAML_BLOCK.search(text)
    if match is None:
        _refuse_unclosed(text)
        return (mark + _lines(f"---\n{_dump([entry])}---\n", newline) + text).encode()
    block = match.group(2)
    data, span = _read(block, text.count("\n", 0, match.start(2)) + 1)
    new = _lines(_dump(_merged(data.get(KEY), entry, named=named)), newline)
    if span is None:
        gap = newline if block and not block.endswith("\n") else ""
        edited = block + gap + new.removesuffix(newline)
    else:
        edited = (block[: span[0]] + new + block[span[1] :]).removesuffix(newline if span[1] == len(block) else "")
    _check(data, edited)
    return (mark + text[: match.start(2)] + edited + text[match.end(2) :]).encode()


def _refuse_unclosed(text: str) -> None:
    """A second block above the one that was begun would be the file's front matter, and the first one its text."""
    opening = _OPENING.match(text)
    if opening:
        line = text.count("\n", 0, opening.end()) + 1
        raise UsageError(
            f"line {line}: the front matter that begins here is never closed: put a line --- below its last key"
        )


def _lines(text: str, newline: str) -> str:
    return text.replace("\n", newline)


def _dump(index: Sequence[Any]) -> str:
    return yaml.safe_dump({KEY: index}, allow_unicode=True, sort_keys=False, width=200)


def _read(block: str, line: int) -> tuple[dict[str, Any], tuple[int, int] | None]:
    """The front matter as data, and from where to where in it the `model-index` stands; `line` is its first line."""
    try:
        root, data = yaml.compose(block, Loader=yaml.SafeLoader), yaml.safe_load(block)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"line {line + mark.line}: " if mark else ""
        raise UsageError(f"{place}the front matter is not YAML: mend it first") from None
    if root is None:
        return {}, None
    if not isinstance(root, yaml.MappingNode) or root.flow_style:
        raise UsageError("the front matter is not a YAML mapping, one key a line: mend it first")
    places = [
        (key.start_mark.index, _end(value, block))
        for key, value in root.value
        if isinstance(key, yaml.ScalarNode) and key.value == KEY
    ]
    if len(places) > 1:
        raise UsageError(f"the front matter has {KEY} twice: leave one")
    return data, places[0] if places else None


def _end(node: yaml.Node, block: str) -> int:
    """Where the line ends on which a value ends; a block's own end mark is where the next key begins."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(node, yaml.MappingNode) else last
    end: int = node.end_mark.index
    if end and block[end - 1] == "\n":
        return end
    found = block.find("\n", end)
    return len(block) if found < 0 else found + 1


def _merged(old: Any, entry: Mapping[str, Any], *, named: bool) -> list[Any]:
    """The list with the entry's results in it, in place of what evalkit wrote for the same data sets before."""
    if old is None:
        return [dict(entry)]
    models: list[dict[str, Any]] = old if isinstance(old, list) else []
    if not models or not all(isinstance(one, dict) and isinstance(one.get("results", []), list) for one in models):
        raise UsageError(f"the front matter's {KEY} is not a list of models with results: mend it first")
    same = [place for place, one in enumerate(models) if one.get("name") == entry["name"]]
    if not same and (named or len(models) != 1):
        return [*models, dict(entry)]
    place = same[0] if same else 0
    mine = [_data_set(result) for result in entry["results"]]
    kept = [one for one in models[place].get("results", []) if not (_is_ours(one) and _data_set(one) in mine)]
    changed = {**models[place], "results": [*kept, *entry["results"]]}
    return [*models[:place], changed, *models[place + 1 :]]


def _data_set(result: Any) -> Any:
    return result.get("dataset") if isinstance(result, dict) else None


def _is_ours(result: Any) -> bool:
    metrics = result.get("metrics") if isinstance(result, dict) else None
    names = [metric.get("name") for metric in metrics if isinstance(metric, dict)] if isinstance(metrics, list) else []
    return bool(names) and all(isinstance(name, str) and _OURS.fullmatch(name) for name in names)


def _check(before: Mapping[str, Any], edited: str) -> None:
    """Everything else must still say what it said: an anchor in the list, say, may be used elsewhere."""
    try:
        after = yaml.safe_load(edited)
    except yaml.YAMLError:
        after = None
    rest = {key: value for key, value in before.items() if key != KEY}
    if not isinstance(after, dict) or {key: value for key, value in after.items() if key != KEY} != rest:
        raise UsageError(f"the front matter's {KEY} cannot be changed without changing the rest: edit it by hand")
