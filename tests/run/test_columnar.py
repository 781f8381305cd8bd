"""Copies by column: never another number than parsing gives, whatever was done to the files or to the copy."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evalkit import resources
from evalkit.cli.app import cli
from evalkit.compare.columns import Labels
from evalkit.compare.judge import compare
from evalkit.compare.policy import Policy
from evalkit.errors import RunError
from evalkit.model import FailureKind, Status
from evalkit.render.document import to_json
from evalkit.run import columnar, manifest
from evalkit.run import rows as parsing
from evalkit.run import rows as store
from evalkit.run.read import read_run
from evalkit.run.rows import Files, parse

PLAN = "a" * 64
HEADER = {"format": store.SCORES_FORMAT, "journals": ["journal.jsonl"]}
ITEMS = [{"s": "quiz", "i": f"q{n}", "stratum": ["x"], "doc_hash": f"d{n}", "prompt": f"p{n}"} for n in range(6)]
ROWS = [
    {"k": "1", "j": n, "s": "quiz", "i": f"q{n}", "r": 0, "v": float(n % 2), "st": "scored", "why": "right", "a": "AB"[n % 2], "h": f"{n:016x}", "n": 9, "p": 40, "c": 7, "sec": 1.5, "l": 1.0}
    for n in range(6)
]  # fmt: skip


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache folder of the test's own, and files of any size that are copied."""
    monkeypatch.setenv("EVALKIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(columnar, "LEAST_BYTES", 1)
    return tmp_path / "cache" / "columns"


@pytest.fixture
def parsed(monkeypatch):
    """How often files were parsed."""
    calls = []

    def counted(files, seen=None):
        calls.append(files)
        return parse(files, seen)

    monkeypatch.setattr(columnar, "parse", counted)
    return calls


def written(folder, rows=ROWS, items=ITEMS, header=HEADER):
    folder.mkdir(parents=True, exist_ok=True)
    files = Files(store.items_path(folder, PLAN), store.scores_path(folder, PLAN))
    store.write_lines(files.items, items)
    store.write_lines(files.scores, [header, *rows])
    return files


def plain(value):
    """Everything that a value holds, down to types and bits, in a form that can be compared."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.tobytes()
    if isinstance(value, Labels):
        return plain(value.codes), value.names
    if hasattr(value, "__slots__"):
        return {name: plain(getattr(value, name)) for name in value.__slots__ if name != "__weakref__"}
    if isinstance(value, dict):
        return [(key, plain(one)) for key, one in value.items()]
    return repr(value)


def copies(cache):
    return sorted(cache.glob("*"))


# ---------------------------------------------------------------- the same with and without

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
numbers = st.floats(0, 1) | st.integers(0, 1)
metrics = st.fixed_dictionaries(
    {},
    optional={
        "logprob_A": st.floats(-9, 0), "logprob_B": st.none() | st.integers(-9, 0), "judge_second": numbers,
        "judge_repeats": st.integers(1, 5), "judge_variance": st.floats(0, 1e308), "else": words,
    },
)  # fmt: skip
item_rows = st.fixed_dictionaries(
    {"s": st.sampled_from(["quiz", "测验"])},
    optional={
        "stratum": st.lists(words, max_size=2), "cluster": words, "weight": st.floats(0, 9) | st.integers(0, 9),
        "doc_hash": words, "prompt": words, "tags": st.lists(st.tuples(words, words), max_size=2),
    },
)  # fmt: skip
score_rows = st.fixed_dictionaries(
    {"st": st.sampled_from([status.value for status in Status]), "v": st.none() | numbers, "r": st.integers(0, 3)},
    optional={
        "why": words | st.just("unjudged"), "a": st.none() | words, "f": st.sampled_from(["", *FailureKind]),
        "h": st.sampled_from(["", "00000000000000ff", "f" * 16]), "n": st.integers(0, 9), "p": st.none() | st.integers(0, 9),
        "c": st.none() | st.integers(0, 2**40), "sec": st.floats(0, 1e300), "l": st.none() | numbers, "cut": st.booleans(),
        "loop": st.booleans(), "k": words, "j": st.integers(0, 2**60), "jf": st.integers(0, 1), "m": metrics,
        "flags": st.lists(words, max_size=2),
    },
)  # fmt: skip


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_copy_says_what_parsing_says(data, tmp_path, cache, parsed):
    items = [{**row, "i": f"q{n}é"} for n, row in enumerate(data.draw(st.lists(item_rows, max_size=5)))]
    drawn = data.draw(st.lists(score_rows, max_size=12)) if items else []
    rows = [{**row, **{key: data.draw(st.sampled_from(items))[key] for key in "si"}} for row in drawn]
    known = {(item["s"], item["i"]) for item in items}
    rows = [row for row in rows if (row["s"], row["i"]) in known]
    journals = data.draw(st.sampled_from([["journal.jsonl"], ["journal.jsonl", "journal-b.jsonl"], []]))
    files = written(tmp_path / "run", rows, items, {**HEADER, "journals": journals})
    expected = plain(parse(files))
    shutil.rmtree(cache, ignore_errors=True)
    parsed.clear()
    first = columnar.load(files)
    held = columnar.load(files)
    columnar._TABLES.clear()
    read = columnar.load(files)
    assert len(parsed) == 1
    assert plain(first) == plain(held) == plain(read) == expected


def test_repeats_and_grades_by_a_judge_are_in_the_copy(tmp_path, cache, parsed):
    graded = {"judge_repeats": 3, "judge_variance": 0.1, "judge_second": 0.5}
    rows = [{**row, "r": r, "m": {**graded, "logprob_A": -0.1 * r, "logprob_B": -2}} for row in ROWS for r in range(3)]
    missing = {"s": "quiz", "i": "q1", "r": 3, "v": None, "st": "grade_error", "why": "unjudged"}
    files = written(tmp_path, [*rows, missing, {**missing, "r": 4, "st": "failed", "f": "timeout"}])
    columnar.load(files)
    suite = columnar.load(files).suites["quiz"]
    assert len(parsed) == 1
    assert (suite.unanswered, suite.unjudged, suite.gradings) == (1, 1, 3)
    assert suite.judge_variance == sum([0.1] * 18, 0.0)
    assert suite.options["q5", 2] == (-0.2, -2)
    assert suite.second["q0", 1] == 0.5


def side(folder, rows, **changed):
    written(folder, rows)
    block = {
        "suite": "quiz", "label": "Quiz", "margin_pt": 40, "headline": "micro", "chance": None, "right_or_wrong": True, "gated": False,
        "licence": "none", "repeats": 2, "items": 6, "items_in_data": 6, "rows": None, "notes": [],
        "parameters": {"temperature": 0.7}, "digests": {"data": "d", "prompts": "p"},
    }  # fmt: skip
    line = {
        "format": manifest.FORMAT, "name": folder.name, "run_id": PLAN[:12], "plan": PLAN, "started": "2026-01-01", "model": "m",
        "served": {}, "versions": {}, "endpoint": {}, "config": {}, "suites": [block], **changed,
    }  # fmt: skip
    (folder / manifest.NAME).unlink(missing_ok=True)
    manifest.append(folder, line)
    choice = {"message": {"content": f"of {folder.name}"}, "finish_reason": "stop"}
    record = {"t": "reply", "key": "1", "seconds": 1.0, "body": {"choices": [choice], "usage": {}}}
    (folder / "journal.jsonl").write_text(json.dumps(record) + "\n")
    docs = ({"s": "quiz", "i": item["i"], "question": f"What is {item['i']}?", "target": "A"} for item in ITEMS)
    store.write_lines(store.docs_path(folder, PLAN), docs)
    return folder


def test_a_comparison_is_the_same_with_and_without_copies(tmp_path, cache, parsed):
    rows = [{**row, "r": r, "j": 0} for row in ROWS for r in range(2)]
    other = [{**row, "v": 1.0, "a": "C"} if row["i"] == "q2" else row for row in rows]
    folders = side(tmp_path / "ref", rows), side(tmp_path / "cand", other)
    made = [to_json(compare(*map(read_run, folders), Policy(), "2026-01-01T00:00:00+00:00")) for _ in range(2)]
    assert len(parsed) == 2
    assert made[0] == made[1]
    read = [read_run(folder) for folder in folders]
    assert read[0].suites["quiz"].samples.items is read[1].suites["quiz"].samples.items  # held once
    assert read[1].reply("quiz", 0).content == "of cand"
    assert read[1].item("quiz", "q1").question == "What is q1?"


@pytest.mark.parametrize("command", ["run", "score"])
def test_a_run_leaves_the_copy_that_its_first_comparison_reads(faulty, questions, tmp_path, cache, parsed, command):
    config = str(questions(faulty.url, 12))
    assert not CliRunner().invoke(cli, ["run", config, "--quiet"], standalone_mode=False).return_value
    (copy,) = copies(cache)
    if command == "score":
        copy.unlink()
        assert not CliRunner().invoke(cli, ["score", config], standalone_mode=False).return_value
    parsed.clear()
    side = read_run(tmp_path / "runs" / "side")
    assert side.suites["faults"].samples.value.tolist() == [1.0] * 12
    assert "answer=" in side.item("faults", "q3").question
    assert side.reply("faults", 3).content
    assert parsed == []


# ---------------------------------------------------------------- never stale


def replace_in(path, old, new):
    """Changes some bytes and leaves size and times as they were."""
    about = path.stat()
    content = path.read_bytes()
    assert old in content
    assert len(old) == len(new)
    path.write_bytes(content.replace(old, new, 1))
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def values(files):
    return columnar.load(files).suites["quiz"].samples.value.tolist()


def test_scores_that_changed_in_place_are_parsed(tmp_path, cache, parsed):
    files = written(tmp_path)
    columnar.load(files)
    assert values(files) == [0, 1, 0, 1, 0, 1]
    assert len(parsed) == 1
    replace_in(files.scores, b'"v":0.0', b'"v":1.0')
    assert values(files) == [1, 1, 0, 1, 0, 1]
    replace_in(files.scores, b'"v":1.0', b'"v":0.0')
    assert values(files) == [0, 1, 0, 1, 0, 1]  # the first copy is still true
    assert len(parsed) == 2


def test_items_that_changed_in_place_are_parsed(tmp_path, cache):
    files = written(tmp_path)
    columnar.load(files)
    replace_in(files.items, b'["x"]', b'["y"]')
    for _ in range(2):
        assert columnar.load(files).suites["quiz"].samples.items.stratum[:2] == (("y",), ("x",))


def test_scores_that_were_appended_to_cut_or_graded_again_are_parsed(tmp_path, cache):
    files = written(tmp_path)
    columnar.load(files)
    with files.scores.open("a") as out:
        out.write(json.dumps({**ROWS[0], "r": 1, "v": 0.5}) + "\n")
    assert values(files) == [0, 1, 0, 1, 0, 1, 0.5]
    lines = files.scores.read_text().splitlines(keepends=True)
    files.scores.write_text("".join(lines[:4]))
    assert values(files) == [0, 1, 0]
    files.scores.write_text("".join(lines[:4]) + lines[4][:30])
    with pytest.raises(RunError, match=":5: is damaged"):
        columnar.load(files)
    written(tmp_path, [{**row, "v": 1 - row["v"]} for row in ROWS])
    assert values(files) == values(files) == [1, 0, 1, 0, 1, 0]


def test_every_changed_byte_of_the_scores_is_seen(tmp_path, cache, monkeypatch):
    files = written(tmp_path, ROWS[:1], ITEMS[:1])
    columnar.load(files)
    monkeypatch.setattr(columnar, "_decoded", lambda _reader: pytest.fail("answered from a stale copy"))
    whole = files.scores.read_bytes()
    for place in range(len(whole)):
        changed = bytearray(whole)
        changed[place] ^= 2
        files.scores.write_bytes(changed)
        assert columnar._find(cache, "-".join(map(str, columnar._sizes(files))), files) is None


@pytest.mark.parametrize("when", ["before", "after"])
def test_files_that_change_while_they_are_read_name_the_copy_by_what_was_parsed(tmp_path, cache, monkeypatch, when):
    files = written(tmp_path)

    def changing(files, seen=None):
        stored = None if when == "before" else parse(files, seen)
        replace_in(files.scores, b'"v":0.0', b'"v":1.0')
        return stored or parse(files, seen)

    with monkeypatch.context() as patch:
        patch.setattr(columnar, "parse", changing)
        assert values(files) == [when == "before", 1, 0, 1, 0, 1]
    assert values(files) == [1, 1, 0, 1, 0, 1]
    replace_in(files.scores, b'"v":1.0', b'"v":0.0')
    assert values(files) == [0, 1, 0, 1, 0, 1]


def test_copies_that_other_code_made_are_not_used(tmp_path, cache, parsed, monkeypatch):
    files = written(tmp_path)
    for _ in range(2):
        columnar.load(files)
    assert len(parsed) == 1
    edited = tmp_path / "parse.py"
    edited.write_bytes(Path(parsing.__file__).read_bytes() + b"# another rule\n")
    monkeypatch.setattr(parsing, "__file__", str(edited))
    columnar.load(files)
    assert len(parsed) == 2
    monkeypatch.setattr(parsing, "__file__", str(tmp_path / "absent.py"))  # no source, no copies
    columnar.load(files)
    assert (len(parsed), len(copies(cache))) == (3, 2)


def test_another_run_with_the_same_sizes_has_a_copy_of_its_own(tmp_path, cache, parsed):
    one, two = written(tmp_path / "one"), written(tmp_path / "two", [{**row, "v": 1 - row["v"]} for row in ROWS])
    for _ in range(2):
        assert (values(one), values(two)) == ([0, 1, 0, 1, 0, 1], [1, 0, 1, 0, 1, 0])
    moved = written(tmp_path / "three")
    assert values(moved) == values(one)
    assert (len(parsed), len(copies(cache))) == (2, 2)


# ---------------------------------------------------------------- copies that are not what they were


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_copy_is_made_anew(data, tmp_path, cache, parsed):
    files = written(tmp_path / "run")
    expected = plain(columnar.load(files))
    (copy,) = copies(cache)
    content = copy.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    flipped = content[:place] + bytes([content[place] ^ data.draw(st.integers(1, 255))]) + content[place + 1 :]
    garbage = data.draw(st.binary(max_size=200))
    copy.write_bytes(data.draw(st.sampled_from([flipped, content[:place], content + b"\n", garbage, b""])))
    parsed.clear()
    assert plain(columnar.load(files)) == plain(columnar.load(files)) == expected
    assert len(parsed) == 1
    assert copies(cache) == [copy]


def test_a_copy_of_another_user_is_not_believed(tmp_path, cache, parsed, monkeypatch):
    files = written(tmp_path)
    columnar.load(files)
    (copy,) = copies(cache)
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(copy, 12345, -1)
    columnar.load(files)
    assert len(parsed) == 2
    assert copy.stat().st_uid == 0  # made anew
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    columnar.load(files)
    assert len(parsed) == 2  # root's is


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("0 item", np.array([0, 1, 2, 3, 4, 6], np.int32)),
        ("0 item", np.array([-1, 1, 2, 3, 4, 5], np.int32)),
        ("0 value", np.zeros(5)),
        ("0 file", np.zeros(5, np.int16)),
        ("0 status", np.array([0, 0, 0, 0, 0, 9], np.int32)),
        ("0 items stratum", np.array([0, 0, 0, 0, 0, -2], np.int32)),
        ("0 items weight", np.zeros(7)),
        ("0 items name", ["q0"]),
        ("0 options", [["q0", 0]]),
        ("0 counts", [6, 6]),
        ("0 counts", [5, 6, 0, 0, 0, "0x0p+0"]),
        ("0 counts", [6, 6, 0, 0, 0, "many"]),
        ("run", None),
        ("run", [["journal.jsonl"], ["quiz", "more"]]),
    ],
)
def test_a_copy_that_does_not_fit_together_is_not_used(tmp_path, cache, parsed, monkeypatch, column, value, shared):
    files = written(tmp_path)
    as_array, as_json = columnar.ColumnWriter.array, columnar.ColumnWriter.json

    def array(self, name, values, kind):
        forge = name == column and isinstance(value, np.ndarray)
        as_array(self, name, value if forge else values, kind)

    def json_of(self, name, values):
        as_json(self, name, value if name == column and not isinstance(value, np.ndarray) else values)

    with monkeypatch.context() as patch:
        patch.setattr(columnar.ColumnWriter, "array", array)
        patch.setattr(columnar.ColumnWriter, "json", json_of)
        first = columnar.load(files)
    if not shared:
        columnar._TABLES.clear()
    assert len(copies(cache)) == 1
    expected = plain(parse(files))
    assert plain(first) == expected
    assert plain(columnar.load(files)) == plain(columnar.load(files)) == expected
    about_items = column.startswith("0 items")
    assert len(parsed) == (1 if shared and about_items else 2)  # items that are held already are not read


# ---------------------------------------------------------------- where nothing can be kept


def test_small_files_are_parsed_and_leave_nothing(tmp_path, cache, parsed, monkeypatch):
    files = written(tmp_path)
    monkeypatch.setattr(columnar, "LEAST_BYTES", sum(columnar._sizes(files)) + 1)
    for _ in range(2):
        columnar.load(files)
    assert (len(parsed), cache.exists()) == (2, False)


def test_nothing_is_written_beside_the_scores(tmp_path, cache, parsed):
    files = written(tmp_path / "run")
    before = sorted((tmp_path / "run").iterdir())
    (tmp_path / "run").chmod(0o555)
    try:
        for _ in range(2):
            columnar.load(files)
    finally:
        (tmp_path / "run").chmod(0o755)
    assert sorted((tmp_path / "run").iterdir()) == before
    assert len(parsed) == 1


def test_without_a_cache_folder_files_are_parsed(tmp_path, cache, parsed):
    cache.parent.write_text("no folder")
    files = written(tmp_path / "run")
    for _ in range(2):
        assert values(files) == [0, 1, 0, 1, 0, 1]
    assert len(parsed) == 2


@pytest.mark.parametrize("refusing", ["replace", "fdopen"])
def test_a_disk_that_refuses_leaves_nothing_behind(tmp_path, cache, monkeypatch, refusing):
    def refuse(*_arguments):
        raise OSError(28, "No space left on device")

    files = written(tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(columnar.os, refusing, refuse)
        assert values(files) == [0, 1, 0, 1, 0, 1]
    assert copies(cache) == []


def test_a_cache_that_cannot_be_touched_is_still_read(tmp_path, cache, parsed, monkeypatch):
    files = written(tmp_path / "run")
    columnar.load(files)

    def refuse(*_arguments, **_named):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(columnar.os, "utime", refuse)
    assert values(files) == [0, 1, 0, 1, 0, 1]
    assert len(parsed) == 1


def test_a_copy_never_becomes_too_large(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(columnar.column_file, "MOST_BYTES", 100)
    assert values(written(tmp_path / "run")) == [0, 1, 0, 1, 0, 1]
    assert copies(cache) == []


def test_absent_files_are_named(tmp_path, cache):
    files = written(tmp_path)
    columnar.load(files)
    for file in (files.scores, files.items):
        file.unlink()
        with pytest.raises(RunError, match=f"{file.name}: cannot be read"):
            columnar.load(files)


def test_what_was_not_used_for_long_is_removed(tmp_path, cache, monkeypatch):
    files = written(tmp_path)
    columnar.load(files)
    (first,) = copies(cache)
    unfinished = cache / ".left-by-a-kill"
    unfinished.write_bytes(b"x")
    for path in (first, unfinished):
        os.utime(path, (time.time() - 40 * 86400,) * 2)
    columnar.load(files)  # used again
    replace_in(files.scores, b'"v":0.0', b'"v":1.0')
    columnar.load(files)
    assert first in copies(cache)
    assert unfinished not in copies(cache)
    monkeypatch.setattr(columnar, "KEPT_BYTES", 0)
    replace_in(files.scores, b'"v":0.0', b'"v":1.0')
    columnar.load(files)
    (last,) = copies(cache)
    assert last != first


# ---------------------------------------------------------------- several at once

LOAD = """
import sys
from pathlib import Path
from evalkit.run import columnar
from evalkit.run.parse import Files
columnar.LEAST_BYTES = 1
print("ready", flush=True)
sys.stdin.readline()
for _ in range(20):
    print(columnar.load(Files(*map(Path, sys.argv[1:]))).suites["quiz"].samples.value.sum())
"""


def test_processes_that_load_at_once_do_not_disturb_each_other(tmp_path, cache):
    rows = [{**row, "r": r} for row in ROWS for r in range(200)]
    files = written(tmp_path / "run", rows)
    command = [sys.executable, "-c", LOAD, str(files.items), str(files.scores)]
    running = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for process in running:
        assert process.stdout.readline() == "ready\n"
    for process in running:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in running:
        assert process.communicate()[0].split() == ["600.0"] * 20
        assert process.returncode == 0
    assert len(copies(cache)) == 1
    assert resources.cache_folder() == cache.parent
    assert plain(columnar.load(files)) == plain(parse(files))
