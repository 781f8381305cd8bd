"""Finds what `lm_eval --log_samples` left in an output folder: results by date, samples by task and date."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from evalkit.errors import DataError
from evalkit.foreign.choices import Dates

_DATE: Final = r"(\d{4}-\d\d-\d\dT[\d:.-]+)"
_RESULTS: Final = re.compile(rf"results_{_DATE}\.json")
_SAMPLES: Final = re.compile(rf"samples_(.+)_{_DATE}\.jsonl")
_DEPTH: Final = 4  # lm-eval puts the model's name between the output path and the files
_MOST_BYTES: Final = 1 << 28


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


def sessions(folder: Path) -> list[Session]:
    """The runs in an output folder, oldest first.

    Raises:
        DataError: where there is none, results or samples lack each other, or several models share the folder.
    """
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


def chosen_sessions(folder: Path, dates: Dates | None) -> dict[str, list[Session]]:
    """For each task the sessions that count, oldest first: the only one, the latest, or all as repeats.

    Raises:
        DataError: where a task was run more than once and nobody says what that means.
    """
    by_task: dict[str, list[Session]] = {}
    for session in sessions(folder):
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
    found: list[Path] = []
    level = [folder]
    for _ in range(_DEPTH):
        entries = [entry for place in level for entry in sorted(place.iterdir())]
        found += [entry for entry in entries if entry.suffix in {".json", ".jsonl"}]
        level = [entry for entry in entries if entry.is_dir() and not entry.name.startswith(".")]
    return found


def _document(path: Path) -> dict[str, Any]:
    import orjson

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
