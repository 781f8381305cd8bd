"""Reading a stored run: what it holds as columns, what a damaged or foreign folder says, which session counts."""

from dataclasses import replace

import numpy as np
import pytest
from reasons import told

from evalkit.errors import RunError
from evalkit.run import manifest, tables
from evalkit.run.read import is_run, read_run
from evalkit.run.tables import Graded, ItemRow
from tests.support.stored_run import PLAN, add_session, reply_line, suite_record, write_tables

ROWS = [
    Graded("q1", 0, 1.0, "scored", "right", "A", text=1, characters=9, prompt_tokens=40, completion_tokens=7, seconds=1.5, lenient=1.0, suite="quiz", key="1", offset=0),
    Graded("q2", 0, 0.0, "truncated", "truncated", text=2**64 - 1, characters=3, prompt_tokens=41, completion_tokens=99, seconds=2.0, truncated=True, suite="quiz", key="2", offset=88),
    Graded("q3", 0, 0.0, "no_answer", "none", characters=3, prompt_tokens=42, completion_tokens=5, seconds=2.0, loops=True, suite="quiz", key="3", offset=99),
    Graded("q4", 0, None, "failed", "no route", failure="connection", suite="quiz"),
    Graded("q5", 0, None, "not_asked", suite="quiz"),
]  # fmt: skip


@pytest.fixture
def run(tmp_path):
    """Writes a run folder of these score rows."""

    def write(rows=ROWS, suites=None, journals=("journal.jsonl",), items=None):
        folder = tmp_path / "ref"
        write_tables(folder, rows, items, journals)
        add_session(folder, suites=suites)
        return folder

    return write


def by_item(samples):
    return {samples.items.name[code]: row for row, code in enumerate(samples.item)}


def test_every_column_is_read_whatever_a_row_leaves_out(run):
    samples = read_run(run()).suites["quiz"].samples
    row = by_item(samples)
    assert len(samples) == 5
    assert list(samples.value[[row["q1"], row["q2"]]]) == [1.0, 0.0]
    assert np.isnan(samples.value[[row["q4"], row["q5"]]]).all()
    assert [samples.status[row[f"q{n}"]] for n in range(1, 6)] == [
        "scored",
        "truncated",
        "no_answer",
        "failed",
        "not_asked",
    ]
    assert (samples.answer[row["q1"]], samples.answer[row["q2"]]) == ("A", "")
    assert (samples.failure[row["q4"]], samples.reason[row["q4"]]) == ("connection", "no route")
    assert (int(samples.text[row["q1"]]), int(samples.text[row["q2"]]), int(samples.text[row["q3"]])) == (
        1,
        2**64 - 1,
        0,
    )
    assert samples.truncated[row["q2"]]
    assert not samples.truncated[row["q1"]]
    assert list(np.flatnonzero(samples.loops)) == [row["q3"]]
    assert (samples.prompt_tokens[row["q1"]], samples.seconds[row["q2"]]) == (40, 2.0)
    assert np.isnan(samples.completion_tokens[row["q4"]])
    assert samples.items.stratum[0] == ("x",)


def test_the_order_of_rows_says_nothing(run):
    def content(side):
        samples = side.suites["quiz"].samples
        return sorted(
            (samples.items.name[code], samples.status[n], str(samples.value[n]), int(samples.text[n]))
            for n, code in enumerate(samples.item)
        )

    assert content(read_run(run())) == content(read_run(run(ROWS[::-1])))


def test_rows_of_several_blocks_and_suites_stay_apart(run):
    rows = [Graded(f"q{n}", 0, float(n % 2), "scored", suite=suite) for n in range(5000) for suite in "ab"]
    side = read_run(run(rows, [suite_record("a"), suite_record("b")]))
    assert {name: len(suite.samples) for name, suite in side.suites.items()} == {"a": 5000, "b": 5000}
    assert all(suite.samples.value.mean() == 0.5 for suite in side.suites.values())


def test_facts_come_from_the_manifest(run):
    side = read_run(run(suites=[suite_record(items_in_data=20)]))
    facts = side.suites["quiz"].facts
    assert (facts.margin, facts.chance, facts.greedy, facts.repeats) == (0.015, 0.25, True, 1)
    assert facts.digests == {"data": "d", "prompts": "p", "sampling.temperature": "0.0", "sampling.max_tokens": "64"}
    assert told(facts.notes) == ["5 of 20 items"]
    assert (side.identity.name, side.identity.endpoint) == ("ref", {"server": "vLLM", "build": "b7"})


def test_replies_and_questions_are_fetched_from_where_they_lie(run):
    folder = run(
        [ROWS[0], replace(ROWS[1], offset=0, journal=1), *ROWS[3:]], journals=("journal.jsonl", "journal-2.jsonl")
    )
    for name, text in (("journal.jsonl", "first"), ("journal-2.jsonl", "second")):
        (folder / name).write_text(reply_line(text))
    side = read_run(folder)
    row = by_item(side.suites["quiz"].samples)
    assert side.reply("quiz", row["q1"]).content == "first"
    assert side.reply("quiz", row["q2"]).content == "second"
    assert side.reply("quiz", row["q4"]) is None
    assert (side.item("quiz", "q2").question, side.item("quiz", "q2").target) == ("What is q2?", "A")
    assert side.item("quiz", "nobody") is None


def test_a_suite_that_must_be_whole_says_what_is_missing(run):
    (defect,) = told(read_run(run(suites=[suite_record(complete=True)])).suites["quiz"].facts.defects)
    assert "2 of 5 requests have no answer" in defect


def test_answers_that_no_judge_graded_withhold_the_verdict(run):
    rows = [replace(ROWS[0], item=f"q{n}") for n in range(40)]
    rows.append(Graded("last", 0, None, "grade_error", "unjudged", suite="quiz", offset=4))
    (defect,) = told(read_run(run(rows)).suites["quiz"].facts.defects)
    assert "1 of 41 answers are unjudged" in defect


def test_log_probabilities_of_options_are_kept(run):
    metrics = {"logprob_A": -0.5, "logprob_B": -2.0, "other": 1.0}
    side = read_run(run([replace(ROWS[0], metrics=metrics), *ROWS[1:]]))
    assert side.suites["quiz"].options == {("q1", 0): (-0.5, -2.0)}


def test_only_suites_of_right_and_wrong_have_a_step(run):
    suites = [suite_record("quiz", right_or_wrong=True), suite_record("essay")]
    rows = [*ROWS, Graded("q1", 0, 0.5, "scored", suite="essay")]
    read = read_run(run(rows, suites)).suites
    assert (read["quiz"].facts.step, read["essay"].facts.step) == (1.0, None)


# ---------------------------------------------------------------- which session counts


def test_a_last_session_that_asked_less_is_named(run):
    folder = run(suites=[suite_record(items=2)])
    assert read_run(folder).notes == ()
    whole = (folder / manifest.NAME).read_text()
    (folder / manifest.NAME).write_text("")
    add_session(folder, plan="c" * 64, suites=[suite_record(items=5), suite_record("other")])
    with (folder / manifest.NAME).open("a") as lines:
        lines.write(whole)
    (note,) = told(read_run(folder).notes)
    assert "quiz 2 items x 1 of 5 x 1" in note
    assert "other not at all" in note
    assert note.startswith("ref: what its last session asked is compared")


def test_a_last_session_that_asked_more_needs_no_word(run):
    folder = run()
    line = (folder / manifest.NAME).read_text()
    (folder / manifest.NAME).write_text("")
    add_session(folder, plan="c" * 64, suites=[suite_record(items=2)])
    with (folder / manifest.NAME).open("a") as lines:
        lines.write(line)
    assert read_run(folder).notes == ()


def test_a_session_is_found_by_its_plan(run):
    folder = run()
    add_session(folder, plan="d" * 64, suites=[suite_record(items=1)])
    assert read_run(folder, PLAN).suites["quiz"].facts.repeats == 1
    with pytest.raises(RunError, match="holds no session of the plan eeeeeeeeeeee"):
        read_run(folder, "e" * 64)
    with pytest.raises(RunError, match="evalkit score"):
        read_run(folder)  # the last session was never scored


# ---------------------------------------------------------------- folders that cannot be read


def test_a_folder_that_is_no_run_says_so(tmp_path):
    assert not is_run(tmp_path)
    with pytest.raises(RunError, match="is no run folder"):
        read_run(tmp_path)


def test_a_run_without_scores_says_what_makes_them(run):
    folder = run()
    tables.scores_path(folder, PLAN).unlink()
    with pytest.raises(RunError, match="has no scores yet: run `evalkit score`"):
        read_run(folder)


def test_scores_of_another_version_are_not_read(run, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(tables, "FORMAT", 0)
        folder = run()
    with pytest.raises(RunError, match=r"items-aaaaaaaaaaaa.parquet: was made by another version of evalkit"):
        read_run(folder)


def test_a_score_of_an_unknown_item_is_named(run):
    folder = run(items=[ItemRow("quiz", "q1")])
    with pytest.raises(RunError, match="names 'q2', which the items do not"):
        read_run(folder)
    folder = run(items=[ItemRow("other", "q1")])
    with pytest.raises(RunError, match="names 'quiz', which the items do not"):
        read_run(folder)


def test_the_collector_is_on_again_whatever_happens(run, tmp_path):
    import gc

    read_run(run())
    assert gc.isenabled()
    with pytest.raises(RunError):
        read_run(tmp_path)
    assert gc.isenabled()
