"""Score tables: the three formats give the same side, and every mistake names file, line and column."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reasons import told

from evalkit.compare.judge import compare
from evalkit.compare.validity import Policy
from evalkit.errors import DataError
from evalkit.foreign import Choices, Named
from evalkit.foreign.tables import read_table
from evalkit.model import Verdict

COLUMNS = ("suite", "item", "repeat", "score", "cluster", "stratum", "status")
ROWS = [
    ("quiz", "a", 0, 1.0, "c1", "easy", "scored"),
    ("quiz", "a", 1, 0.0, "c1", "easy", "no_answer"),
    ("quiz", "b", 0, None, "c1", "hard", "failed"),
    ("quiz", "b", 1, 0.25, "c1", "hard", None),
    ("maths", "7", 0, 1.0, None, None, None),
]


def write(folder, rows, suffix, columns=COLUMNS):
    path = folder / f"scores{suffix}"
    if suffix == ".csv":
        lines = [",".join(columns)] + [",".join("" if v is None else str(v) for v in row) for row in rows]
        path.write_text("\n".join(lines) + "\n")
    elif suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist([dict(zip(columns, row, strict=True)) for row in rows]), path)
    else:
        path.write_text("".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows))
    return path


def content(side):
    return {
        name: (
            suite.facts,
            suite.samples.items.name,
            suite.samples.items.cluster,
            suite.samples.items.stratum,
            suite.samples.item.tolist(),
            suite.samples.repeat.tolist(),
            [None if np.isnan(v) else v for v in suite.samples.value.tolist()],
            list(suite.samples.status),
        )
        for name, suite in side.suites.items()
    }


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".ndjson", ".parquet"])
def test_all_formats_say_the_same(tmp_path, suffix):
    side = read_table(write(tmp_path, ROWS, suffix), Choices())
    quiz = side.suites["quiz"].samples
    assert list(side.suites) == ["quiz", "maths"]
    assert quiz.items.name == ("a", "b")
    assert quiz.items.stratum == (("easy",), ("hard",))
    assert list(quiz.status) == ["scored", "no_answer", "failed", "scored"]
    assert np.array_equal(quiz.value, [1.0, 0.0, np.nan, 0.25], equal_nan=True)
    assert side.suites["quiz"].facts.headline == "macro"
    assert side.suites["maths"].facts.headline == "micro"
    assert content(side) == content(read_table(write(tmp_path, ROWS, ".jsonl"), Choices()))


def test_required_columns_are_enough_and_others_are_named(tmp_path):
    path = write(tmp_path, [("q", "a", 0, 1, "m")], ".csv", ("suite", "item", "repeat", "score", "model"))
    side = read_table(path, Choices())
    assert told(side.notes) == ["scores.csv: columns that are not used: model"]
    assert side.identity.name == "scores"
    assert len(side.identity.run_id) == 12


def test_column_order_is_free_and_a_byte_order_mark_is_no_letter(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes("\ufeffscore,repeat,item,suite\n0.5,0,ä,q\n".encode())
    samples = read_table(path, Choices()).suites["q"].samples
    assert (samples.items.name, samples.value.tolist()) == (("ä",), [0.5])


def test_names_that_are_numbers_are_the_same_in_every_format(tmp_path):
    made = [write(tmp_path, [("q", 7, 0, 1.0)], suffix, COLUMNS[:4]) for suffix in (".csv", ".jsonl", ".parquet")]
    made.append(tmp_path / "float.jsonl")
    made[-1].write_text('{"suite": "q", "item": 7.0, "repeat": 0.0, "score": 1}\n')
    assert {read_table(path, Choices()).suites["q"].samples.items.name for path in made} == {("7",)}


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_blanks_around_a_name_are_no_part_of_it(tmp_path, suffix):
    padded = [tuple(f" {cell}\t" if isinstance(cell, str) else cell for cell in row) for row in ROWS]
    plain = content(read_table(write(tmp_path, ROWS, suffix), Choices()))
    assert content(read_table(write(tmp_path, padded, suffix), Choices())) == plain


def test_headings_in_a_list_lose_their_blanks_too(tmp_path):
    row = {"suite": "q", "item": "a", "repeat": 0, "score": 1, "stratum": ["m ", " n"]}
    (tmp_path / "t.jsonl").write_text(json.dumps(row))
    assert read_table(tmp_path / "t.jsonl", Choices()).suites["q"].samples.items.stratum == (("m", "n"),)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize("twin", [("q", " a", 0, 1.0), ("q ", "a", 0, 1.0)])
def test_two_rows_that_only_blanks_told_apart_are_named(tmp_path, suffix, twin):
    path = write(tmp_path, [("q", "a", 0, 0.5), ("q", "b", 0, 0.5), twin], suffix, COLUMNS[:4])
    with pytest.raises(DataError) as caught:
        read_table(path, Choices())
    assert str(caught.value) == (
        f"{path}:{4 if suffix == '.csv' else 3}: suite 'q', item 'a', repeat 0 is listed twice "
        "(blanks around a name are no part of it)"
    )


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_table_that_counts_repeats_from_one_is_the_one_that_counts_from_zero(tmp_path, suffix):
    later = [(suite, item, repeat + 1, *rest) for suite, item, repeat, *rest in ROWS]
    from_zero = content(read_table(write(tmp_path, ROWS, suffix), Choices()))
    assert content(read_table(write(tmp_path, later, suffix), Choices())) == from_zero


def test_a_suite_without_its_first_repeat_is_none_that_counts_from_one(tmp_path):
    side = read_table(write(tmp_path, [*ROWS, ("late", "x", 1, 1.0, None, None, None)], ".csv"), Choices())
    assert side.suites["late"].samples.repeat.tolist() == [1]


def test_headings_in_lists_are_nested_and_a_headline_may_be_chosen(tmp_path):
    path = tmp_path / "t.jsonl"
    rows = [{"suite": "q", "item": str(i), "repeat": 0, "score": i % 2, "stratum": ["m", str(i % 3)]} for i in range(6)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_table(path, Choices()).suites["q"].facts.headline == "nested"
    assert read_table(path, Choices(headlines=Named("micro"))).suites["q"].facts.headline == "micro"
    assert read_table(path, Choices(headlines=Named("micro", {"q": "macro"}))).suites["q"].facts.headline == "macro"


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (("q", "a", 0, 1.5), "score: 1.5 does not lie between 0 and 1; divide percentages by 100"),
        (("q", "a", 0, -0.1), "score: -0.1 does not lie between"),
        (("q", "a", -1, 1.0), "repeat: "),
        (("q", "", 0, 1.0), "item: is empty"),
        (("", "a", 0, 1.0), "suite: is empty"),
        (("q", "  ", 0, 1.0), "item: is empty"),
    ],
)
def test_a_wrong_cell_names_file_line_and_column(tmp_path, suffix, row, sentence):
    path = write(tmp_path, [("q", "x", 0, 0.5), row], suffix, COLUMNS[:4])
    with pytest.raises(DataError) as caught:
        read_table(path, Choices())
    assert str(caught.value).startswith(f"{path}:{3 if suffix == '.csv' else 2}: {sentence}")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("suite,item,repeat\nq,a,0\n", "has no column 'score' (there are: suite, item, repeat); a score table has"),
        ("", "has no column 'suite' (there are: none)"),
        ("suite,item,repeat,score\n", "holds no row"),
        ("suite,item,repeat,score\nq,a,0\n", ":2: has 3 cells, the header 4"),
        ("suite,item,repeat,score,clusters\nq,a,0,1,x\n", "has a column 'clusters': did you mean 'cluster'?"),
        ("suite,item,repeat,score\nq,a,first,1\n", ":2: repeat: 'first' is no whole number from 0"),
        ("suite,item,repeat,score\nq,a,0,good\n", ":2: score: 'good' is no number"),
        ("suite,item,repeat,score\nq,a,0,1\nq,b,0,1\nq,a,0,0\n", ":4: suite 'q', item 'a', repeat 0 is listed twice"),
        (
            "suite,item,repeat,score,status\nq,a,0,1,fine\n",
            ":2: status: 'fine' is none of scored, no_answer, truncated",
        ),
        ("suite,item,repeat,score,status\nq,a,0,0,failed\n", ":2: status: failed has no score, but 0 is given"),
        ("suite,item,repeat,score,status\nq,a,0,,scored\n", ":2: score: is empty, but the status is scored"),
        ("suite,item,repeat,score,cluster\nq,a,0,1,x\nq,a,1,1,y\n", ":3: item 'a' has another cluster or stratum"),
        ('suite,item,repeat,score\nq,"a\n', "2 cells"),
    ],
)
def test_a_wrong_table_says_what_is_wrong(tmp_path, text, sentence):
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        read_table(path, Choices())
    assert sentence in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("t.jsonl", b"{", ":1: is no JSON"),
        ("t.jsonl", b"[1]\n", ":1: a row is a JSON object, not list"),
        ("t.jsonl", b'{"suite": "q", "item": "a", "repeat": 0, "score": 1}\n{"suite": "q"}\n', ":2: has no 'item'"),
        ("t.jsonl", b'{"suite": ["q"], "item": {}, "repeat": [], "score": 1}\n', ":1: repeat: [] is no whole number"),
        ("t.parquet", b"PAR0", "is no Parquet file"),
        ("t.csv", b"\xff\xfe\x00", "is no CSV in UTF-8"),
        ("t.csv", b"suite,item,repeat,score\n\xff,a,0,1\n", "is no CSV in UTF-8"),
    ],
)
def test_rubbish_is_refused_in_a_sentence(tmp_path, name, data, sentence):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        read_table(path, Choices())
    assert sentence in str(caught.value)


def test_a_table_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read_table(tmp_path / "no.csv", Choices())


scores = st.lists(st.sampled_from([0.0, 0.5, 1.0, None]), min_size=1, max_size=40)


@settings(max_examples=25, deadline=None)
@given(scores)
def test_a_table_against_itself_has_no_difference(tmp_path_factory, values):
    folder = tmp_path_factory.mktemp("table")
    rows = [("q", f"i{number}", 0, value) for number, value in enumerate(values)]
    side = read_table(write(folder, rows, ".jsonl", COLUMNS[:4]), Choices())
    result = compare(side, replace(side), Policy(), "now").suites[0]
    assert result.difference in {0.0, None}
    assert result.verdict in {Verdict.INVALID, Verdict.EQUIVALENT, Verdict.INCONCLUSIVE}
