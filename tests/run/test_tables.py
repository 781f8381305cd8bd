"""The tables of a run: what was written is read back, by evalkit and by everyone's tools, or not believed at all."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from evalkit.cli.app import cli
from evalkit.compare.columns import Labels
from evalkit.errors import RunError, StorageError
from evalkit.model import FailureKind, Status
from evalkit.run import items, parquet, tables
from evalkit.run.items import ItemRow, read_items, write_items
from evalkit.run.parquet import Table, sealed
from evalkit.run.tables import Graded
from tests.support.stored_run import add_session, items_of, journal_records, write_tables

ITEMS = [ItemRow("quiz", f"q{n}", stratum=("x",), document=n + 1, prompt=n + 9) for n in range(6)]
ROWS = [
    Graded(f"q{n}", 0, float(n % 2), "scored", "right", "AB"[n % 2], text=n, characters=9, prompt_tokens=40, completion_tokens=7, seconds=1.5, lenient=1.0, suite="quiz", key="1", offset=n)
    for n in range(6)
]  # fmt: skip


def load(scores):
    listed = {suite: read_items(scores.parent, digest) for suite, digest in items_of(scores.parent).items()}
    return tables.load(listed, Table(scores, tables.SCORES))


def values(scores):
    return load(scores).suites["quiz"].samples.value.tolist()


def plain(value):
    """Everything that a value holds, down to types and bits, in a form that can be compared."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.tobytes()
    if isinstance(value, Labels):
        return list(value)
    if hasattr(value, "__slots__"):
        return {name: plain(getattr(value, name)) for name in value.__slots__ if name != "__weakref__"}
    return value


# ---------------------------------------------------------------- what was written is read

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
counts = st.none() | st.integers(0, 2**40)
metrics = st.fixed_dictionaries(
    {},
    optional={
        "logprob_A": st.floats(-9, 0), "logprob_B": st.floats(-9, 0), "judge_second": st.floats(0, 1),
        "judge_repeats": st.integers(1, 5), "judge_variance": st.floats(0, 1), "else": st.floats(0, 9),
    },
)  # fmt: skip
item_rows = st.builds(
    ItemRow, suite=st.sampled_from(["quiz", "测验"]), item=words, stratum=st.lists(words, max_size=2),
    cluster=st.none() | words, weight=st.floats(0, 9), document=st.integers(0, 2**64 - 1),
    prompt=st.integers(0, 2**64 - 1), tags=st.lists(st.tuples(words, words), max_size=2),
)  # fmt: skip
score_rows = st.builds(
    Graded, item=st.just(""), repeat=st.integers(0, 3), value=st.none() | st.floats(0, 1),
    status=st.sampled_from([status.value for status in Status]), reason=words | st.just("unjudged"),
    answer=st.none() | words, failure=st.sampled_from(["", *(kind.value for kind in FailureKind)]),
    text=st.integers(0, 2**64 - 1), prompt_tokens=counts, completion_tokens=counts, characters=counts,
    seconds=st.none() | st.floats(0, 1e300), lenient=st.none() | st.floats(0, 1), truncated=st.booleans(),
    loops=st.booleans(), flags=st.lists(words, max_size=2), metrics=metrics, key=words,
    journal=st.integers(0, 1), offset=st.integers(-1, 2**60),
)  # fmt: skip


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), block=st.sampled_from([1, 3, 1 << 16]))
def test_every_column_says_what_the_rows_said(data, block, tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "ROWS", block)
    items = data.draw(st.lists(item_rows, max_size=5, unique_by=lambda row: (row.suite, row.item)))
    drawn = data.draw(st.lists(score_rows, max_size=12)) if items else []
    homes = [data.draw(st.sampled_from(items)) for _ in drawn]
    rows = [replace(row, suite=home.suite, item=home.item) for row, home in zip(drawn, homes, strict=True)]
    stored = load(write_tables(tmp_path, rows, items))
    assert set(stored.suites) == {item.suite for item in items}
    places = stored.places()
    for name, suite in stored.suites.items():
        mine, samples = [row for row in rows if row.suite == name], suite.samples
        listed = [item for item in items if item.suite == name]
        assert samples.items.name == tuple(item.item for item in listed)
        assert samples.items.stratum == tuple(tuple(item.stratum) for item in listed)
        assert samples.items.cluster == tuple(item.cluster or "" for item in listed)
        assert [list(tags) for tags in samples.items.tags] in ([item.tags for item in listed], [])
        for column in ("weight", "document", "prompt"):
            assert getattr(samples.items, column).tolist() == [getattr(item, column) for item in listed]
        assert [samples.items.name[code] for code in samples.item] == [row.item for row in mine]
        for column in ("repeat", "text", "truncated", "loops"):
            assert getattr(samples, column).tolist() == [getattr(row, column) for row in mine]
        for column in ("value", "prompt_tokens", "completion_tokens", "characters", "seconds", "lenient"):
            expected = [np.nan if getattr(row, column) is None else getattr(row, column) for row in mine]
            np.testing.assert_array_equal(getattr(samples, column), np.array(expected, dtype=float))
        for column in ("status", "reason", "answer", "failure"):
            assert list(getattr(samples, column)) == [getattr(row, column) or "" for row in mine]
        assert suite.unanswered == sum(row.value is None and row.status in {"failed", "not_asked"} for row in mine)
        assert suite.gradings == max((int(row.metrics.get("judge_repeats", 0)) for row in mine), default=0)
        assert suite.judge_variance == sum((row.metrics.get("judge_variance", 0.0) for row in mine), 0.0)
        if mine:
            found = places[name].T.tolist()
            assert [(file, offset, stored.key(row)) if offset >= 0 else None for file, offset, row in found] == [
                (row.journal, row.offset, row.key) if row.offset >= 0 else None for row in mine
            ]


def test_repeats_and_grades_by_a_judge_are_kept(tmp_path):
    graded = {"judge_repeats": 3, "judge_variance": 0.1, "judge_second": 0.5}
    rows = [
        replace(row, repeat=r, metrics={**graded, "logprob_A": -0.1 * r, "logprob_B": -2})
        for row in ROWS
        for r in range(3)
    ]
    missing = Graded("q1", 3, None, "grade_error", "unjudged", suite="quiz")
    rows += [missing, replace(missing, repeat=4, status="failed", failure="timeout")]
    suite = load(write_tables(tmp_path, rows, ITEMS)).suites["quiz"]
    assert (suite.unanswered, suite.unjudged, suite.gradings) == (1, 1, 3)
    assert suite.judge_variance == sum([0.1] * 18, 0.0)
    assert suite.options["q5", 2] == (-0.2, -2)
    assert suite.second["q0", 1] == 0.5


def test_half_a_surrogate_pair_in_an_answer_is_written_as_a_question_mark(tmp_path):
    rows = [replace(ROWS[0], answer="\ud83d?", reason="wrong"), *ROWS[1:]]
    assert load(write_tables(tmp_path, rows)).suites["quiz"].samples.answer[0] == "??"


def test_the_items_of_two_sides_are_held_once(tmp_path):
    one = load(write_tables(tmp_path / "one", ROWS, ITEMS)).suites["quiz"]
    two = load(write_tables(tmp_path / "two", ROWS[:3], ITEMS)).suites["quiz"]
    other = load(write_tables(tmp_path / "three", ROWS, ITEMS[::-1])).suites["quiz"]
    assert one.samples.items is two.samples.items
    assert other.samples.items is not one.samples.items


# ---------------------------------------------------------------- everyone's tools


def test_pandas_and_arrow_open_the_scores_of_a_run(faulty, questions, tmp_path):
    assert (
        not CliRunner()
        .invoke(cli, ["run", str(questions(faulty.url, 12)), "--quiet"], standalone_mode=False)
        .return_value
    )
    (scores,) = (tmp_path / "runs" / "side").glob("scores-*.parquet")
    (items,) = (tmp_path / "runs" / "side").glob("items-*.parquet")
    frame = pd.read_parquet(scores)
    assert list(frame.columns) == list(tables.SCORES)
    assert frame.value.tolist() == [1.0] * 12
    assert (frame.status == "scored").all()
    assert frame.failure.isna().all()
    joined = frame.merge(pd.read_parquet(items), on=["suite", "item"])
    assert len(joined) == 12
    table = pq.read_table(scores)
    assert table.schema.field("text").type == pa.uint64()
    assert table.column("key").null_count == 0
    assert set(frame.key) == {record["key"] for record in journal_records(tmp_path / "runs" / "side")}
    assert frame.offset.nunique() == 12


def test_a_sample_without_a_score_is_null_for_everyone(tmp_path):
    scores = write_tables(tmp_path, [ROWS[1], Graded("q2", 0, None, "failed", failure="timeout", suite="quiz")])
    assert pq.read_table(scores).column("value").to_pylist() == [1.0, None]
    assert pd.read_parquet(scores).value.mean() == 1.0


def test_the_page_has_every_column_with_its_type():
    page = (Path(__file__).resolve().parents[2] / "docs" / "runs.md").read_text()
    told = {}
    for line in page[page.index("| column of `scores`") :].splitlines():
        cells = [cell.strip() for cell in line.split(" | ")]
        names = re.findall(r"`(\w+)`", cells[0])
        if len(cells) == 3 and not cells[0].startswith("| column"):
            kinds = cells[1].split(", ") if len(names) > 1 else [cells[1]]
            told |= dict(zip(names, kinds, strict=True))
    assert told == {**tables.SCORES, **items.ITEMS}


# ---------------------------------------------------------------- never believed


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_table_is_named(data, tmp_path):
    scores = write_tables(tmp_path, ROWS, ITEMS)
    (listed,) = tmp_path.glob("items-*.parquet")
    digest = items_of(tmp_path)
    expected = {name: plain(suite) for name, suite in load(scores).suites.items()}
    path = data.draw(st.sampled_from([scores, listed]))
    content = path.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    flipped = content[:place] + bytes([content[place] ^ data.draw(st.integers(1, 255))]) + content[place + 1 :]
    garbage = data.draw(st.binary(max_size=200))
    path.write_bytes(data.draw(st.sampled_from([flipped, content[:place], content + b"\n", garbage, b""])))
    items.forget()
    with pytest.raises(RunError, match=f"{path.name}: is damaged"):
        tables.load({"quiz": read_items(tmp_path, digest["quiz"])}, Table(scores, tables.SCORES))
    path.write_bytes(content)
    assert {name: plain(suite) for name, suite in load(scores).suites.items()} == expected


def rewritten(path, change):
    table, out = change(pq.read_table(path)), pa.BufferOutputStream()
    with pq.ParquetWriter(out, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({"crc32c": "00000000"})
    path.write_bytes(sealed(out.getvalue().to_pybytes()))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda table: table.drop_columns(["loops"]), "another version of evalkit"),
        (lambda table: table.drop_columns(["item"]), "another version of evalkit"),
        (lambda table: table.replace_schema_metadata(None), "another version of evalkit"),
        (lambda table: table.set_column(3, "value", pa.array(["1"] * 6)), "another version of evalkit"),
        (lambda table: table.set_column(3, table.field(3), [[2.0] * 6]), "a score does not lie between 0 and 1"),
    ],
)
def test_a_table_that_is_none_of_evalkits_is_refused(tmp_path, change, said):
    scores = write_tables(tmp_path, ROWS, ITEMS)
    rewritten(scores, change)
    with pytest.raises(RunError, match=said):
        load(scores)


def test_items_that_are_listed_twice_are_refused(tmp_path):
    with pytest.raises(RunError, match="an item is listed twice"):
        load(write_tables(tmp_path, ROWS, [*ITEMS, ITEMS[0]]))


def test_absent_tables_are_named(tmp_path):
    with pytest.raises(RunError, match=r"items-abc.parquet: cannot be read \(No such file"):
        read_items(tmp_path, "abc")
    with pytest.raises(RunError, match=r"scores-b.parquet: cannot be read \(No such file"):
        Table(tables.scores_path(tmp_path, "b"), tables.SCORES)


# ---------------------------------------------------------------- items are shared


def test_runs_under_a_folder_share_their_items_and_one_alone_is_whole(tmp_path):
    one, two = (write_items(tmp_path / name, ITEMS) for name in ("one", "two"))
    assert one == two
    paths = [tmp_path / name / f"items-{one}.parquet" for name in ("one", "two", "store")]
    assert len({path.stat().st_ino for path in paths}) == 1
    assert write_items(tmp_path / "two", ITEMS[:3]) != one
    alone = tmp_path / "elsewhere" / "one"
    alone.mkdir(parents=True)
    (alone / paths[0].name).write_bytes(paths[0].read_bytes())
    assert len(read_items(alone, one)) == 6


def test_items_that_are_damaged_are_written_again_for_every_run(tmp_path):
    digest = write_items(tmp_path / "one", ITEMS)
    write_items(tmp_path / "two", ITEMS)
    path = items.items_path(tmp_path / "one", digest)
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    for name in ("one", "two"):
        assert write_items(tmp_path / name, ITEMS) == digest
        assert items.items_path(tmp_path / name, digest).read_bytes() == whole


def test_a_disk_without_links_has_copies(tmp_path, monkeypatch):
    def refused(_source, _target):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    digest = write_items(tmp_path / "one", ITEMS)
    assert len(read_items(tmp_path / "one", digest)) == 6


# ---------------------------------------------------------------- written whole


def test_scores_that_were_graded_again_are_read_and_open_ones_stay_what_they_were(tmp_path):
    scores = write_tables(tmp_path, ROWS, ITEMS)
    stored = load(scores)
    write_tables(tmp_path, [replace(row, value=1 - row.value, offset=99) for row in ROWS[::-1]], ITEMS)
    assert values(scores) == [0, 1, 0, 1, 0, 1]
    assert stored.places()["quiz"][1].tolist() == [0, 1, 2, 3, 4, 5]


def test_a_grading_that_is_stopped_leaves_the_scores_that_were_there(tmp_path):
    scores = write_tables(tmp_path, ROWS, ITEMS)

    def some():
        yield from ROWS[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tables.write_scores(scores, some(), {"journals": []})
    assert values(scores) == [0, 1, 0, 1, 0, 1]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_disk_that_refuses_is_said(tmp_path, monkeypatch):
    def full(_descriptor):
        raise OSError(28, "No space left on device")

    write_items(tmp_path, ITEMS)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"scores-\w+.parquet: cannot be written: No space left"):
        write_tables(tmp_path, ROWS, ITEMS)


# ---------------------------------------------------------------- what loading costs

LOAD = """
import sys
from pathlib import Path
from evalkit.run.repair import read_run
side = read_run(Path(sys.argv[1]))
print(side.suites["quiz"].samples.value.sum(), *sorted({"pandas", "pydantic", "scipy"} & set(sys.modules)))
"""


def test_a_run_is_loaded_without_pandas(tmp_path):
    write_tables(tmp_path, ROWS, ITEMS)
    add_session(tmp_path)
    done = subprocess.run([sys.executable, "-c", LOAD, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout.split() == ["3.0"], done.stderr
