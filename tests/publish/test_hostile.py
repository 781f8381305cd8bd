"""Stored comparisons, histories and manifests that somebody changed: a sentence or a page, never a traceback."""

import copy
import io
import json
import random

import pytest
from rich.console import Console
from stored_run import add_session, suite_record, write_tables

from evalkit import codec
from evalkit.api import Comparison
from evalkit.errors import EvalkitError, RunError, UsageError
from evalkit.options import ReportOptions
from evalkit.publish import history
from evalkit.publish.history_page import HistoryTable, page
from evalkit.publish.known import Known, waived
from evalkit.render.document import from_json, to_json
from evalkit.run import manifest
from evalkit.run.repair import read_run
from evalkit.run.tables import Graded

HOSTILE = (
    "NaN", "Infinity", "1e999", "1e308", "-1e308", "-1", "2", "1.0000001", "9" * 400, "5e-324", "-0.0", '""', '"x"',
    '"' + "A" * 50_000 + '"', "null", "true", "[]", "{}", "[[1]]", '["a"]', '{"a": 1}', '"\\ud800"', '"{n}"', '"<{a}>"',
    '"\\u0000\\u001b[31m"', '"2026-13-45T99:99:99"',
)  # fmt: skip
DAY = Known("musr", *(history.date(2026, month, 1) for month in (1, 12)), "Ann", "why", 1)


def places(document, path=()):
    """All places in a document, a few of each list."""
    if path:
        yield path
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, one in list(inner)[:40]:
        if not isinstance(document, list) or key < 3:
            yield from places(one, (*path, key))


def changed(document, place, value):
    """The document as JSON, with `value`, which may be no JSON, at a place."""
    made = copy.deepcopy(document)
    inner = made
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = "@@@"
    return json.dumps(made).replace('"@@@"', value).encode(errors="replace")


def mutations(document, seed, number):
    draw, known = random.Random(seed), list(places(document))
    for _ in range(number):
        place, value = draw.choice(known), draw.choice(HOSTILE)
        yield place, value, changed(document, place, value)


def shown(nights):
    series = history.series_of(nights)
    codec.dump(history.document(series, ()))
    Console(file=io.StringIO(), width=100).print(HistoryTable(series))
    return page(series, ()), history.gate(series, ())


def test_a_comparison_that_somebody_changed_is_refused_or_shown(comparison):
    document, read = json.loads(to_json(comparison)), 0
    for place, value, data in mutations(document, 5, 250):
        try:
            made = from_json(data)
        except UsageError:
            continue
        read += 1
        for form in ("terminal", "csv", "json", "html", "junit", "openmetrics"):
            try:
                Comparison(made).report(form, ReportOptions())
                Comparison(made).explain()
                waived(made, [DAY], lenient=True)
                shown([history.from_line(history.to_line(history.night_of(made)), "here")])
            except EvalkitError:
                continue
            except Exception as error:
                raise AssertionError(f"{form}: {place} = {value[:40]}") from error
    assert read > 20


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (("suites", 0, "difference"), "1e308", "no such number"),
        (("suites", 0, "noise_floor", "low"), "-1e308", "no such number"),
        (("suites", 0, "n_items"), "9" * 400, "suites"),
        (("suites", 0, "reference", "mean"), "1.5", "mean of 'quiz' does not lie between 0 and 1: 1.5"),
        (("suites", 0, "difference"), "-1.5", "difference of 'quiz' does not lie between 0 and 1"),
        (("suites", 0, "margin"), "-0.01", "margin of 'quiz' does not lie between 0 and 1"),
        (("suites", 0, "coverage"), "7", "coverage"),
        (("macro", "reasons"), '[{"code": "nothing", "values": {}}]', "nothing"),
    ],
)
def test_what_no_comparison_says_is_named(comparison, place, value, words):
    document = json.loads(to_json(comparison))
    document["suites"][0]["suite"] = "quiz"
    with pytest.raises(UsageError, match=words):
        from_json(changed(document, place, value))


def test_a_history_that_somebody_changed_is_refused_or_shown(story, tmp_path):
    night = history.night_of(story[0])
    document, read = json.loads(history.to_line(night)), 0
    for place, value, data in mutations(document, 7, 250):
        path = tmp_path / "history.jsonl"
        path.write_bytes(history.to_line(night) + data + b"\n")
        try:
            nights = history.read(path)
        except UsageError:
            continue
        read += 1
        try:
            shown(nights)
        except Exception as error:
            raise AssertionError(f"{place} = {value[:40]}") from error
    assert read > 20


def test_a_manifest_that_somebody_changed_is_refused_or_read(tmp_path):
    folder = tmp_path / "ref"
    write_tables(folder, [Graded(f"q{n}", 0, 1.0, "scored", suite="quiz") for n in range(5)])
    config = {"name": "ref", "base_urls": ["http://a"], "limits": {"concurrency": 4}}
    add_session(folder, suites=[suite_record(headline="macro")], config=config, same_names=["m"], answered=[])
    path, read = folder / manifest.NAME, 0
    (line, _end) = path.read_bytes().splitlines()
    for place, value, data in mutations(json.loads(line), 9, 250):
        path.write_bytes(data + b"\n" + manifest.end_line(data + b"\n"))
        try:
            side = read_run(folder)
        except RunError:
            continue
        except Exception as error:
            raise AssertionError(f"{place} = {value[:40]}") from error
        read += 1
        assert float(side.suites["quiz"].samples.value.sum()) == 5.0 if "quiz" in side.suites else True
    assert read > 20
