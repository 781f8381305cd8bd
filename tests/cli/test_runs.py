"""`evalkit runs` says what is stored and whether it is whole; `runs cat` prints it, gated questions aside."""

import json
import shutil
from dataclasses import replace

import pytest
from stored_run import PLAN, add_session, suite_record, write_reply, write_tables

from evalkit import records, stored_runs
from evalkit.run import items
from evalkit.run.tables import Graded

KEYS = [f"{number:032x}" for number in range(4)]
AT = {"ref": 1_800_000_000.0, "cand": 1_800_000_100.5}


@pytest.fixture
def runs(tmp_path):
    """Two runs of four answers that share their items, and a judge's folder."""
    for name in ("ref", "cand"):
        folder = tmp_path / "runs" / name
        offsets = [write_reply(folder / "journal.records", f"{name} {n}", key, f"q{n}") for n, key in enumerate(KEYS)]
        rows = [
            Graded(f"q{n}", 0, 1.0, "scored", suite="quiz", key=key, offset=offset, at=AT[name] + n, seconds=0.5)
            for n, (key, offset) in enumerate(zip(KEYS, offsets, strict=True))
        ]
        write_tables(folder, rows)
        add_session(folder, suites=[suite_record(items=4)], name=name, started=f"2026-01-0{1 + (name == 'ref')}")
    write_reply(tmp_path / "runs" / "judge-abc" / "journal.records", "1.0", "f" * 32)
    (tmp_path / "runs" / "ref--cand").mkdir()
    return tmp_path / "runs"


def test_runs_are_listed_with_what_they_hold_and_take(runs, invoke):
    done = invoke("runs", "--runs", runs)
    assert (done.code, done.err) == (0, "")
    lines = [line.split() for line in done.out.splitlines()]
    assert [line[0] for line in lines] == ["run", "judge-abc", "cand", "ref", "3"]
    assert lines[2][1:5] == ["2026-01-01", "quiz", "4", "0"]
    document = json.loads(invoke("runs", "--runs", runs, "--json").out)
    sizes = {path.stat().st_ino: path.stat().st_size for path in runs.rglob("*") if path.is_file()}
    assert document["disk_bytes"] == sum(sizes.values())
    assert sum(one["disk_bytes"] for one in document["runs"]) > document["disk_bytes"], "both sides have the items"
    assert [one["answers"] for one in document["runs"]] == [1, 4, 4]


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        ("journal.records", "journal.records: is damaged at byte"),
        ("manifest.jsonl", "manifest.jsonl: is damaged"),
        ("scores-*.parquet", f"scores-{PLAN[:12]}.parquet: is damaged"),
        ("items-*.parquet", ".parquet: is damaged"),
    ],
)
def test_what_is_damaged_is_said_and_the_exit_code_tells(runs, invoke, pattern, said):
    (path,) = (runs / "cand").glob(pattern)
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.unlink()
    path.write_bytes(data)
    items.forget()
    done = invoke("runs", "--runs", runs)
    assert done.code == 3
    assert said in done.err
    assert [run.folder.name for run in stored_runs(runs) if run.problems] == ["cand"]


def test_a_run_that_is_not_graded_yet_is_called_so_and_one_without_its_journal_too(runs, invoke):
    next((runs / "cand").glob("scores-*.parquet")).unlink()
    (runs / "ref" / "journal.records").unlink()
    done = invoke("runs", "--runs", runs)
    assert done.code == 3
    assert f"{runs / 'cand'}: is not graded yet" in done.err
    assert f"{runs / 'ref'}: its journal.records is gone" in done.err
    assert "damaged" not in done.err


def test_a_folder_that_is_not_there_is_said(tmp_path, invoke):
    assert invoke("runs", "--runs", tmp_path / "none").err.endswith("name the one that your files call `runs:`\n")
    done = invoke("runs", "cat", tmp_path)
    assert done.code == 2
    assert "holds no journal.records: give the folder of a run" in done.err


@pytest.mark.parametrize(
    ("option", "found"),
    [
        ((), ["ref 0", "ref 1", "ref 2", "ref 3"]),
        (("--item", "q2"), ["ref 2"]),
        (("--key", KEYS[1]), ["ref 1"]),
        (("--repeat", "0", "--suite", "quiz"), ["ref 0", "ref 1", "ref 2", "ref 3"]),
        (("--repeat", "1"), []),
        (("--suite", "other"), []),
    ],
)
def test_cat_prints_the_records_that_are_asked_for(runs, invoke, option, found):
    done = invoke("runs", "cat", runs / "ref", *option)
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert [line["body"]["choices"][0]["message"]["content"] for line in lines] == found
    assert done.code == 0


def test_replies_to_gated_questions_are_printed_only_when_asked_for(runs, invoke):
    add_session(runs / "ref", suites=[replace(suite_record(items=4), gated=True)])
    done = invoke("runs", "cat", runs / "ref")
    assert "ref 1" not in done.out
    assert len(done.out.splitlines()) == 4
    assert "4 bodies of gated data sets are left out: --include-questions" in done.err
    assert "ref 1" in invoke("runs", "cat", runs / "ref", "--include-questions").out


def test_records_are_given_before_damage_is_raised(runs):
    from evalkit import RunError

    path = runs / "ref" / "journal.records"
    path.write_bytes(path.read_bytes() + b"?" * 99)
    found = []
    with pytest.raises(RunError, match=r"journal\.records: is damaged at byte"):
        found.extend(record["item"] for record in records(runs / "ref"))
    assert found == ["q0", "q1", "q2", "q3"]


def test_a_copy_of_a_run_is_no_other_side(runs, invoke):
    shutil.copytree(runs / "ref", runs / "copied")
    done = invoke("compare", runs / "ref", runs / "copied")
    assert done.code == 2
    assert "copied: is a copy of" in done.err


def test_two_runs_of_one_name_and_second_are_two_and_a_copy_is_one_whatever_its_manifest_says(runs, invoke):
    for name in ("ref", "cand"):
        (runs / name / "manifest.jsonl").unlink()
        add_session(runs / name, suites=[suite_record(items=4)], started="2026-01-01T00:00:00")
    done = invoke("compare", runs / "ref", runs / "cand")
    assert done.code != 2, done.err
    shutil.copytree(runs / "ref", runs / "copied")
    (runs / "copied" / "manifest.jsonl").unlink()
    add_session(runs / "copied", suites=[suite_record(items=4)], name="other", started="2026-02-02", nonce="1")
    assert "copied: is a copy of" in invoke("compare", runs / "ref", runs / "copied").err


def test_scores_without_their_journal_prove_nothing_unless_somebody_says_so(runs, invoke):
    """The reference's scores, copied into a candidate's folder whose journal is gone."""
    (runs / "cand" / "journal.records").unlink()
    done = invoke("compare", runs / "ref", runs / "cand", "--margin", 60)
    assert (done.code, "cand: its journal is gone" in done.out) == (3, True), done.out
    taken = invoke("compare", runs / "ref", runs / "cand", "--margin", 60, "--stored")
    assert "its journal is gone" not in taken.out
    refused = invoke("compare", runs / "ref", runs / "ref", "--stored")
    assert "--stored: has no effect here" in refused.err
