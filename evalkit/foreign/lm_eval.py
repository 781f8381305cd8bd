"""lm-eval's output folders as sides of a comparison: items by `doc_hash`, one named filter, one named metric.

A suite is a task, or a group whose published number is the mean over its tasks' items (or over its tasks). lm-eval
makes one score an item, whatever it asked: the replies of `repeats: k` end in a filter that chooses or votes. Where a
metric is a list (one value a reply), or several runs are declared to be repeats, there are several scores.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from evalkit.compare.columns import NO_TEXT, ItemText, ReplyText, Sample, Side, SuiteFacts, SuiteSide
from evalkit.compare.pair import headline
from evalkit.errors import DataError
from evalkit.files import digest64, digest_file, json_lines
from evalkit.foreign import Choices, Dates, Named
from evalkit.foreign.columns import ItemFacts, SamplesBuilder
from evalkit.model import Reason, RunIdentity, Status

_DATE: Final = r"(\d{4}-\d\d-\d\dT[\d:.-]+)"
_RESULTS: Final = re.compile(rf"results_{_DATE}\.json")
_SAMPLES: Final = re.compile(rf"samples_(.+)_{_DATE}\.jsonl")
_DEPTH: Final = 4  # lm-eval puts the model's name between the output path and the files
_MOST_BYTES: Final = 1 << 28
GATED: Final = frozenset({"Idavidrein/gpqa", "cais/hle"})  # data sets whose terms forbid to share their questions


@dataclass(frozen=True, slots=True)
class Session:
    """One run of lm-eval in the folder: its date, its results document, its files of samples by task."""

    date: str
    results: Mapping[str, Any]
    results_file: Path
    samples: Mapping[str, Path]


def is_lm_eval(folder: Path) -> bool:
    """True where a folder holds samples or results of lm-eval."""
    return any(_RESULTS.fullmatch(path.name) or _SAMPLES.fullmatch(path.name) for path in _files(folder))


def _sessions(folder: Path) -> list[Session]:
    """The runs in an output folder, oldest first."""
    results: dict[str, Path] = {}
    samples: dict[str, dict[str, Path]] = {}
    for path in _files(folder):
        if found := _RESULTS.fullmatch(path.name):
            results[found[1]] = path
        elif found := _SAMPLES.fullmatch(path.name):
            samples.setdefault(found[2], {})[found[1]] = path
    homes = sorted({str(path.parent) for files in samples.values() for path in files.values()})
    if len(homes) > 1:
        raise DataError(f"{folder}: holds the samples of several models ({', '.join(homes)}): name one of them")
    if not samples:
        raise DataError(f"{folder}: has results, but no samples_*.jsonl: run lm_eval with --log_samples")
    alone = sorted(set(samples) - set(results))
    if alone:
        raise DataError(
            f"{folder}: has samples of {alone[0]}, but no results_{alone[0]}.json: the run was not finished"
        )
    return [Session(date, _document(results[date]), results[date], files) for date, files in sorted(samples.items())]


def _chosen_sessions(folder: Path, dates: Dates | None) -> dict[str, list[Session]]:
    """For each task the sessions that count, oldest first: the only one, the latest, or all as repeats."""
    by_task: dict[str, list[Session]] = {}
    for session in _sessions(folder):
        for task in session.samples:
            by_task.setdefault(task, []).append(session)
    for task, found in by_task.items():
        if len(found) > 1 and dates is None:
            listed = ", ".join(session.date for session in found)
            raise DataError(
                f"{folder}: {task} was run {len(found)} times ({listed}): say --dates latest, or --dates repeats where "
                "each run is a repeat of the same"
            )
    return by_task if dates == "repeats" else {task: found[-1:] for task, found in by_task.items()}


def _files(folder: Path) -> list[Path]:
    found = [path for depth in range(_DEPTH) for path in sorted(folder.glob("*/" * depth + "*.json*"))]
    hidden = [path for path in found if any(part.startswith(".") for part in path.relative_to(folder).parts[:-1])]
    return [path for path in found if path.suffix in {".json", ".jsonl"} and path not in hidden]


def _document(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise DataError(f"{path}: is larger than {_MOST_BYTES} bytes: this is no results file")
        document = orjson.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except orjson.JSONDecodeError as error:
        raise DataError(f"{path}: is no JSON: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("results"), dict):
        raise DataError(f"{path}: has no `results`: this is no results file of lm-eval")
    return document


def _choose(where: str, task: str, what: str, there: Sequence[str], named: Named) -> str:
    """The filter or metric that counts: the only one, or the one that is named."""
    wanted = named.of(task)
    if wanted in there:
        return str(wanted)
    if len(there) == 1 and task not in named.by_suite:
        return there[0]
    listed, place = ", ".join(there), f"{where}: {task}"
    if wanted is None:
        cure = f"name the one that counts with --{what} NAME or --{what} {task}=NAME"
        raise DataError(f"{place} has the {what}s {listed}: {cure}")
    cure = "" if task in named.by_suite else f": name one with --{what} {task}=NAME"
    raise DataError(f"{place} has no {what} {wanted!r}; there are: {listed}{cure}")


def _values(where: str, metric: str, row: Mapping[str, Any]) -> list[float]:
    """The item's scores: one, or one a reply where the metric is a list."""
    value = row.get(metric)
    values: list[Any] = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(v, (int, float)) and 0.0 <= v <= 1.0 for v in values):
        raise DataError(
            f"{where}: metric {metric!r} is {str(value)[:60]}, not a score from 0 to 1 for each item: name another "
            "with --metric"
        )
    return [float(v) for v in values]


def reply_of(row: Mapping[str, Any]) -> list[str]:
    """The generated texts of the item's request, one a repeat; none for log-likelihood tasks."""
    requests = row.get("resps")
    if not isinstance(requests, list) or len(requests) != 1 or not isinstance(requests[0], list):
        return []
    return [reply for reply in requests[0] if isinstance(reply, str)]


def question_of(row: Mapping[str, Any]) -> str:
    """What was sent: the prompt's text, or the last user turn of a chat."""
    told: Any = row.get("arguments")
    while isinstance(told, Mapping | list) and told:  # {"gen_args_0": {"arg_0": prompt, ...}}, or lists of lists
        told = next(iter(told.values() if isinstance(told, Mapping) else told))
    return _last_turn(told) if isinstance(told, str) else ""


def _last_turn(prompt: str) -> str:
    """The prompt, or what the user said last where lm-eval stored a chat as JSON."""
    text = prompt.removeprefix('JsonChatStr(prompt="').removesuffix('")')
    if not text.lstrip().startswith("["):
        return prompt
    try:
        turns = orjson.loads(text)
    except orjson.JSONDecodeError:
        return prompt
    users = [turn for turn in turns if isinstance(turn, dict) and turn.get("role") == "user"]
    return str(users[-1].get("content", "")) if users else prompt


_SAME: Final = 1e-6  # a published mean and that of its samples differ by less than this


@dataclass(slots=True)
class _Suite:
    """One suite while it is read, with the file and byte of every sample's line."""

    grouped: bool
    samples: SamplesBuilder = field(default_factory=SamplesBuilder)
    tasks: list[str] = field(default_factory=list)
    scorers: dict[str, str] = field(default_factory=dict)
    replies: int = 1
    files: list[Path] = field(default_factory=list)
    repeat: array[int] = field(default_factory=lambda: array("i"))
    file: array[int] = field(default_factory=lambda: array("i"))
    offset: array[int] = field(default_factory=lambda: array("q"))
    item_row: dict[str, int] = field(default_factory=dict)  # an item's first sample


def read_lm_eval(folder: Path, choices: Choices) -> Side:
    """The side that an output folder of lm-eval holds; no endpoint and no data set is needed.

    Raises `DataError`: where files are missing or damaged, or a filter or metric must be named.
    """
    by_task = _chosen_sessions(folder, choices.dates)
    latest = max((found[-1] for found in by_task.values()), key=lambda session: session.date)
    homes = _homes(latest, list(by_task))
    suites: dict[str, _Suite] = {}
    filters: set[str] = set()
    metrics: set[str] = set()
    for task, found in sorted(by_task.items()):
        suite = suites.setdefault(homes.get(task, task), _Suite(grouped=task in homes))
        suite.tasks.append(task)
        for repeat, session in enumerate(found):
            metric, name = _read(suite, task, session, repeat, choices)
            metrics.add(metric)
            filters.add(name)
    for what, named, taken in (("filter", choices.filters, filters), ("metric", choices.metrics, metrics)):
        if named.everywhere is not None and named.everywhere not in taken:
            raise DataError(
                f"{folder}: no task has a {what} {named.everywhere!r}; there are {', '.join(sorted(taken))}"
            )
    sides = {name: _side(name, suite, latest) for name, suite in suites.items()}
    return Side(_identity(folder, latest), _config(latest), sides, partial(_reply, suites), partial(_item, suites))


def _homes(session: Session, tasks: Sequence[str]) -> dict[str, str]:
    """The group that a task is reported under: an outermost one with a number of its own, with all its tasks here."""
    subtasks: Mapping[str, Sequence[str]] = session.results.get("group_subtasks") or {}
    groups = session.results.get("groups") or {}
    inner = {name for members in subtasks.values() for name in members}

    def leaves(name: str) -> Iterator[str]:
        members = subtasks.get(name) or ()
        if not members:
            yield name
        for member in members:
            yield from leaves(member)

    homes: dict[str, str] = {}
    for group in subtasks:
        numbers = [key for key in groups.get(group, {}) if "," in key and "_stderr" not in key]
        members = list(leaves(group))
        if group not in inner and numbers and set(members) <= set(tasks):
            homes.update(dict.fromkeys(members, group))
    return homes


def _read(suite: _Suite, task: str, session: Session, repeat: int, choices: Choices) -> tuple[str, str]:
    """Adds the samples of one file, and gives the metric and the filter that they are of."""
    path = session.samples[task]
    filters = list(dict.fromkeys(str(row.get("filter")) for _line, _offset, row in json_lines(path)))
    if not filters:
        raise DataError(f"{path}: holds no sample")
    name = _choose(str(path), task, "filter", filters, choices.filters)
    suite.files.append(path)
    metric: str | None = None
    counts: dict[str, int] = {}
    for number, offset, row in json_lines(path):
        if row.get("filter") != name:
            continue
        where = f"{path}:{number}"
        if metric is None:
            metrics = [str(one) for one in row.get("metrics") or [] if one in row]
            if not metrics:
                raise DataError(f"{where}: {task} names no metric that it holds: this is no sample of lm-eval 0.4")
            metric = _choose(where, task, "metric", metrics, choices.metrics)
        identity = row.get("doc_hash")
        if not isinstance(identity, str) or not identity:
            cause = "it was written by an lm-eval older than 0.4.3; run it again"
            raise DataError(f"{where}: {task} has no doc_hash: {cause}")
        identity = identity[:16]
        counts[identity] = counts.get(identity, 0) + 1
        item = identity if counts[identity] == 1 else f"{identity}-{counts[identity]}"
        item = f"{task}/{item}" if suite.grouped else item
        if item not in suite.samples.items:
            # Two equal documents of one task are one question asked twice: they share their hash, and so a cluster.
            prompt = digest64(str(row.get("prompt_hash") or ""))
            suite.samples.add_item(ItemFacts(item, (task,), document=digest64(identity), prompt=prompt))
            suite.item_row[item] = len(suite.offset)
        values = _values(where, metric, row)
        _add(suite, item, row, values, repeat * len(values))
        suite.repeat.extend(range(len(values)))
        suite.file.extend([len(suite.files) - 1] * len(values))
        suite.offset.extend([offset] * len(values))
    suite.scorers[task] = f"{metric},{name}"
    return str(metric), name


def _add(suite: _Suite, item: str, row: Mapping[str, Any], values: Sequence[float], first: int) -> None:
    replies = reply_of(row)
    suite.replies = max(suite.replies, len(replies))
    answers = row.get("filtered_resps") or []
    for number, value in enumerate(values):
        text = replies[number] if number < len(replies) else replies[0] if replies else None
        answer = answers[0] if answers else None
        if isinstance(answer, list) and number < len(answer):
            answer = answer[number]
        sample = Sample(
            item=item,
            repeat=first + number,
            value=value,
            status=Status.SCORED if text is None or text.strip() else Status.EMPTY,
            answer=answer[:200] if isinstance(answer, str) else None,
            text=NO_TEXT if text is None else digest64(text),
            characters=None if text is None else len(text),
        )
        suite.samples.add(sample)


def _side(name: str, suite: _Suite, session: Session) -> SuiteSide:
    samples = suite.samples.samples()
    results = session.results
    configs = [_of(results, "configs", task) for task in suite.tasks]
    notes = [Reason("note.metric", {"name": name, "scorers": tuple(sorted(set(suite.scorers.values())))})]
    if suite.replies > 1:
        notes.append(Reason("note.replies", {"name": name, "n": suite.replies}))
    whole = [_of(results, "n-samples", task).get("original") for task in suite.tasks]
    size = sum(number for number in whole if isinstance(number, int))
    if len(samples.items) < size:
        notes.append(Reason("note.part", {"n": len(samples.items), "all": size}))
    made = SuiteSide(
        SuiteFacts(
            suite=name,
            label=str(_of(results, "results", name).get("alias") or name).strip(" -") or name,
            margin=None,
            greedy=all(_is_greedy(config, results) for config in configs),
            repeats=int(samples.repeat.max()) + 1 if len(samples) else 1,
            notes=tuple(notes),
            digests=_digests(suite, results),
            gated=any(config.get("dataset_path") in GATED for config in configs),
        ),
        samples,
    )
    return _with_headline(made, name, suite, results) if suite.grouped else _checked(made, name, suite, results)


def _digests(suite: _Suite, results: Mapping[str, Any]) -> dict[str, str]:
    versions = {task: str(_of(results, "versions").get(task, "")) for task in suite.tasks}
    digests = {"scorer": "; ".join(f"{suite.scorers[task]}@{versions[task]}" for task in suite.tasks)}
    shots = {str(_of(results, "n-shot").get(task)) for task in suite.tasks}
    digests["num_fewshot"] = ",".join(sorted(shots))
    for task in suite.tasks:
        for key, value in _of(_of(results, "configs", task), "generation_kwargs").items():
            digests[f"sampling.{key}"] = str(value)
    digests["gen_kwargs"] = str(_of(results, "config").get("gen_kwargs") or "none")
    return digests


def _of(document: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """The mapping under these keys, empty where there is none."""
    found: Any = document
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _is_greedy(config: Mapping[str, Any], results: Mapping[str, Any]) -> bool:
    generation = _of(config, "generation_kwargs")
    sampled = generation.get("do_sample") is True or float(generation.get("temperature") or 0) > 0
    changed = sampled or _of(results, "config").get("gen_kwargs")
    return config.get("output_type") == "generate_until" and not changed


def _published(results: Mapping[str, Any], name: str, scorer: str) -> float | None:
    value = _of(results, "results", name).get(scorer, _of(results, "groups", name).get(scorer))
    return float(value) if isinstance(value, (int, float)) else None


def _checked(side: SuiteSide, name: str, suite: _Suite, results: Mapping[str, Any]) -> SuiteSide:
    """The suite with a defect where its results file does not belong to its samples."""
    defects = []
    asked = _of(results, "n-samples", name).get("effective")
    items = len(side.samples.items)
    if isinstance(asked, int) and asked != items:
        defects.append(Reason("lm_eval.items", {"name": name, "asked": asked, "n": items}))
    metrics = _of(results, "configs", name).get("metric_list") or []
    metric = suite.scorers[name].partition(",")[0]
    listed = [entry for entry in metrics if isinstance(entry, Mapping) and entry.get("metric") == metric]
    averaged = any(entry.get("aggregation", "mean") == "mean" for entry in listed)
    published, own = _published(results, name, suite.scorers[name]), headline(side)
    once = side.facts.repeats == 1 and not np.isnan(side.samples.value).any()
    if averaged and once and published is not None and own is not None and abs(published - own) > _SAME:
        defects.append(Reason("lm_eval.score", {"name": name, "published": published, "own": own}))
    return _changed(side, defects=tuple(defects))


def _with_headline(side: SuiteSide, name: str, suite: _Suite, results: Mapping[str, Any]) -> SuiteSide:
    """A group with the rule that gives its published number: the mean over items, or over tasks."""
    scorers = set(suite.scorers.values())
    published = _published(results, name, scorers.pop()) if len(scorers) == 1 else None
    if published is None:
        return _changed(side, headline="micro")
    for rule in ("micro", "macro"):
        ruled = _changed(side, headline=rule)
        own = headline(ruled)
        if own is None or abs(published - own) <= _SAME:
            return ruled
    return _changed(side, defects=(Reason("lm_eval.group", {"name": name, "published": published}),))


def _changed(side: SuiteSide, **changes: Any) -> SuiteSide:
    return SuiteSide(replace(side.facts, **changes), side.samples)


def _identity(folder: Path, session: Session) -> RunIdentity:
    results = session.results
    versions = {key: str(results[key]) for key in ("lm_eval_version", "transformers_version") if results.get(key)}
    model = str(results.get("model_name") or _of(results, "config").get("model") or "")
    digest = digest_file(session.results_file)
    name = folder.name or str(folder.resolve().name)
    return RunIdentity(name, digest[:12], model, str(folder), session.date, versions, {}, {})


def _config(session: Session) -> dict[str, Any]:
    from evalkit.config.redact import redacted  # brings pydantic and yaml, which a comparison of stored runs can spare

    results = session.results
    keys = ("model_source", "model_name", "system_instruction", "chat_template_sha", "fewshot_as_multiturn")
    said = {**_of(results, "config"), **{key: results[key] for key in keys if results.get(key) is not None}}
    if isinstance(said.get("model_args"), str):
        parts = (part.partition("=") for part in said["model_args"].split(","))
        said["model_args"] = {key: value for key, _sign, value in parts}
    return {"lm_eval": redacted(said)}


def _line(about: _Suite, row: int) -> dict[str, Any]:
    """The line that a sample was read from."""
    with about.files[about.file[row]].open("rb") as lines:
        lines.seek(about.offset[row])
        found: dict[str, Any] = orjson.loads(lines.readline())
    return found


def _reply(suites: Mapping[str, _Suite], suite: str, row: int) -> ReplyText | None:
    """The reply of one sample."""
    about = suites[suite]
    replies = reply_of(_line(about, row))
    if not replies:
        return None
    number = about.repeat[row]
    return ReplyText(replies[number] if number < len(replies) else replies[0])


def _item(suites: Mapping[str, _Suite], suite: str, item: str) -> ItemText | None:
    """Question and target of one item."""
    about = suites[suite]
    if item not in about.item_row:
        return None
    line = _line(about, about.item_row[item])
    return ItemText(question_of(line), str(line.get("target", "")))
