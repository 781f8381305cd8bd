"""Formats that the Hub and shared collections read: `.eval_results`, `model-index` front matter, Every Eval Ever.

What is published is the candidate: the model whose repository the files are for. A suite that is INVALID or incomplete
has no score to publish, and one of a part of its data set only where that is `partial`: it is left out and named in
`HubFile.left_out`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal

import yaml

from evalkit.errors import UsageError
from evalkit.model import Comparison, SideSummary, SuiteResult, Verdict
from evalkit.publish.cards import decoded, incomplete, own_data
from evalkit.render import numbers
from evalkit.render.jinja import own
from evalkit.render.rows import part_text, suite_row
from evalkit.resources import Patterns

EVERY_EVAL_EVER_VERSION: Final = "0.3.0"


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file's text, and a sentence for each suite that is not in it; `entry` is the `model-index` in it, as data."""

    text: str
    left_out: tuple[str, ...]
    entry: Mapping[str, Any] = field(default_factory=dict)


# `source_url` is a link to the evidence, "" for none.


def eval_results(comparison: Comparison, source_url: str = "", *, partial: bool = False) -> HubFile:
    """The content of `.eval_results/evalkit.yaml`: scores in percent for suites whose data set is a Hub Benchmark."""
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    kept, left_out = _publishable(comparison, partial=partial)
    entries = []
    for suite in kept:
        place = own_data("hub").get(suite.suite, {})
        if "benchmark" not in place:
            left_out.append(f"{suite.suite}: its data set is not registered as a Benchmark on the Hub")
            continue
        entries.append(
            EvalResultEntry(
                dataset_id=place["dataset"],
                task_id=place["benchmark"],
                value=_percent(suite.candidate),
                date=comparison.created[:10] or None,
                source_url=source_url or None,
                source_name="evalkit" if source_url else None,
                notes=_note(suite, comparison),
            )
        )
    return HubFile(_yaml(eval_result_entries_to_yaml(entries)), tuple(left_out))


def model_index(
    comparison: Comparison, model_name: str = "", source_url: str = "", *, partial: bool = False
) -> HubFile:
    """README front matter (between its `---` lines) with a `model-index`, for readers of the older format."""
    from huggingface_hub import EvalResult
    from huggingface_hub.repocard_data import eval_results_to_model_index

    kept, left_out = _publishable(comparison, partial=partial)
    results = []
    for suite in kept:
        place, part = own_data("hub").get(suite.suite, {}), _part(suite, suite.candidate)
        results.append(
            EvalResult(
                task_type="text-generation",
                dataset_type=place.get("dataset", suite.suite),
                dataset_name=place.get("name", suite.label or suite.suite) + (f" ({part})" if part else ""),
                dataset_config=place.get("config"),
                dataset_split=place.get("split"),
                metric_type="accuracy",
                metric_value=_percent(suite.candidate),
                metric_name=_note(suite, comparison),
                source_url=source_url or None,
                source_name="evalkit" if source_url else None,
            )
        )
    name = model_name or comparison.candidate.model.rstrip("/").rsplit("/", 1)[-1]
    index = eval_results_to_model_index(name, results) if results else []
    text = f"---\n{_yaml({'model-index': index} if index else {})}---\n"
    return HubFile(text, tuple(left_out), index[0] if index else {})


def every_eval_ever(
    comparison: Comparison, side: Literal["reference", "candidate"], source_url: str = "", *, partial: bool = False
) -> HubFile:
    """One run as an Every Eval Ever record (schema 0.3.0): its scores with standard errors, n and k."""
    run = comparison.reference if side == "reference" else comparison.candidate
    kept, left_out = _publishable(comparison, partial=partial)
    try:
        retrieved = int(datetime.fromisoformat(comparison.created).timestamp())
    except ValueError:
        raise UsageError(f"the comparison's time {comparison.created!r} is not an ISO 8601 date and time") from None
    context: dict[str, Any] = {
        "version": EVERY_EVAL_EVER_VERSION,
        "comparison": comparison,
        "run": run,
        "side": side,
        "retrieved": str(retrieved),
        "source_url": source_url,
        "suites": kept,
        "places": own_data("hub"),
        "parts": {
            suite.suite: _part(suite, suite.reference if side == "reference" else suite.candidate) for suite in kept
        },
        "generation": _generation(run.sampling),
    }
    record = json.loads(own("every_eval_ever.json.j2", **context))
    return HubFile(json.dumps(record, ensure_ascii=False, indent=1) + "\n", tuple(left_out))


def _generation(sampling: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that the schema knows, typed; the rest as strings."""
    known = {
        key: sampling[key]
        for key in ("temperature", "top_p", "top_k", "max_tokens")
        if isinstance(sampling.get(key), int if key == "max_tokens" else int | float)
        and not isinstance(sampling[key], bool)
    }
    rest = {key: json.dumps(value, ensure_ascii=False) for key, value in sampling.items() if key not in known}
    return {"generation_args": known, "additional_details": rest}


def _publishable(comparison: Comparison, *, partial: bool) -> tuple[list[SuiteResult], list[str]]:
    """Suites that have a score to publish, and a sentence for each of the others."""
    kept, left_out = [], []
    for suite in (one for one in comparison.suites if not one.row_of):
        if suite.verdict is Verdict.INVALID or incomplete(suite):
            why = suite.verdict.value if suite.verdict is Verdict.INVALID else "incomplete"
            left_out.append(f"{suite.suite}: {why}, so it has no score to publish")
        elif (part := part_text(suite)) and not partial:
            left_out.append(f"{suite.suite}: {part}: give --partial to publish it so marked")
        else:
            kept.append(suite)
    return kept, left_out


def _part(suite: SuiteResult, side: SideSummary) -> str:
    """What of a suite stands behind a side's score: "30 of 198 items", "199 of 200 answers"; "" where that is all."""
    answers = f"{side.valued:,} of {side.planned:,} answers" if side.valued < side.planned else ""
    return ", ".join(filter(None, (part_text(suite), answers)))


def _percent(side: SideSummary) -> float:
    return float(numbers.rounded(numbers.points(side.mean or 0.0), 2))


def _note(suite: SuiteResult, comparison: Comparison) -> str:
    """n, k, the difference with its interval, the margin and the verdict, in one line."""
    row, part = suite_row(suite), _part(suite, suite.candidate)
    parts = [f"n={row.n}", *([part] if part else []), f"k={row.k}"]
    if row.change:
        parts.append(
            f"{numbers.change_text(row.change)} pt"
            f" ({row.change.interval.level_percent} % interval) from {comparison.reference.run_id}"
        )
    parts += [f"margin ±{row.margin} pt", row.verdict.value, f"evalkit {comparison.evalkit_version}"]
    return ", ".join(parts)


def _yaml(data: object) -> str:
    return yaml.safe_dump(data, allow_unicode=True, sort_keys=False, width=200)


# What an earlier call put there for the same data sets gives way; results that others wrote stay in the list. (The
# library of the Hub writes the whole front matter anew, and loses its comments and quoting.)
KEY: Final = "model-index"
_RE: Final = Patterns("hub")
_MARK: Final = "\N{ZERO WIDTH NO-BREAK SPACE}"


def into_front_matter(file: bytes, entry: Mapping[str, Any], *, named: bool = False) -> bytes:
    """The file with an entry of a `model-index` (a model's name and its results) in its front matter.

    Args:
        file: the whole README.
        entry: `{"name": ..., "results": [...]}`.
        named: the name was asked for; otherwise the one model that the file names keeps its name.

    Raises `UsageError`: the file is not UTF-8, or its front matter is not closed, no YAML mapping or not one that can
    be edited.
    """
    text = decoded(file)
    newline = "\r\n" if text.partition("\n")[0].endswith("\r") else "\n"
    front = _RE.front.match(text)
    if front is None:
        mark, rest = text[: text.startswith(_MARK)], text.removeprefix(_MARK)
        return (mark + f"---\n{_yaml({KEY: [entry]})}---\n".replace("\n", newline) + rest).encode()
    begin, block, end = front.groups()
    line = begin.partition("---")[0].count("\n") + 1
    if end is None:  # a second block above it would be the file's front matter, and this one its text
        raise UsageError(
            f"line {line}: the front matter that begins here is never closed: put a line --- below its last key"
        )
    data = _read(block, line + 1)
    new = _yaml({KEY: _merged(data.get(KEY), entry, named=named)}).replace("\n", newline)
    places = [found.span() for found in _RE.index.finditer(block)] or [(len(block), len(block))]
    if len(places) > 1:
        raise UsageError(f"the front matter has {KEY} twice: leave one")
    edited = block[: places[0][0]] + new + block[places[0][1] :]
    _check(data, edited)
    return (begin + edited + text[front.start(3) :]).encode()


def _read(block: str, line: int) -> dict[str, Any]:
    """The front matter as data; `line` is its first line."""
    try:
        data = yaml.safe_load(block)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date that is none is a ValueError
        mark = getattr(error, "problem_mark", None)
        place = f"line {line + min(mark.line, len(block.splitlines()) - 1)}: " if mark else ""
        raise UsageError(f"{place}the front matter is not YAML: mend it first") from None
    if not isinstance(data, dict | None) or block.lstrip().startswith("{"):
        raise UsageError("the front matter is not a YAML mapping, one key a line: mend it first")
    return data or {}


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
    """What names a data set; its shown name also says which part of it was asked."""
    found = result.get("dataset") if isinstance(result, dict) else None
    return {key: value for key, value in found.items() if key != "name"} if isinstance(found, dict) else found


def _is_ours(result: Any) -> bool:
    metrics = result.get("metrics") if isinstance(result, dict) else None
    names = [metric.get("name") for metric in metrics if isinstance(metric, dict)] if isinstance(metrics, list) else []
    return bool(names) and all(isinstance(name, str) and _RE.ours.fullmatch(name) for name in names)


def _check(before: Mapping[str, Any], edited: str) -> None:
    """Everything else must still say what it said: an anchor in the list, say, may be used elsewhere."""
    try:
        after = yaml.safe_load(edited)
    except yaml.YAMLError:
        after = None
    rest = {key: value for key, value in before.items() if key != KEY}
    if not isinstance(after, dict) or {key: value for key, value in after.items() if key != KEY} != rest:
        raise UsageError(f"the front matter's {KEY} cannot be changed without changing the rest: edit it by hand")
