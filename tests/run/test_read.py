"""Reading a stored run: what it holds as columns, what a damaged or foreign folder says, which session counts."""

from dataclasses import replace

import numpy as np
import orjson
import pytest
from reasons import told

from evalkit.errors import RunError
from evalkit.run import items, manifest, parquet, tables
from evalkit.run.items import ItemRow, write_items
from evalkit.run.manifest import Stopped
from evalkit.run.read import is_run
from evalkit.run.repair import read_run
from evalkit.run.tables import Graded
from tests.support.stored_run import PLAN, add_session, suite_record, write_reply, write_tables

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

    def write(rows=ROWS, suites=None, listed=None, scorers=None):
        folder = tmp_path / "ref"
        write_tables(folder, rows, listed, scorers)
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


def test_replies_and_questions_are_fetched_from_where_they_lie(run, tmp_path):
    for name, text, key in (("journal.records", "first", "1"), ("journal-2.records", "second", "2")):
        write_reply(tmp_path / "ref" / name, text, key * 32)
    # The files are read by name: `journal-2` comes first.
    rows = [replace(ROWS[0], key="1" * 32, journal=1), replace(ROWS[1], key="2" * 32, offset=0), *ROWS[3:]]
    folder = run(rows)
    side = read_run(folder)
    row = by_item(side.suites["quiz"].samples)
    assert side.reply("quiz", row["q1"]).content == "first"
    assert side.reply("quiz", row["q2"]).content == "second"
    assert side.reply("quiz", row["q4"]) is None
    assert (side.item("quiz", "q2").question, side.item("quiz", "q2").target) == ("What is q2?", "A")
    assert side.item("quiz", "nobody") is None


def test_a_journal_that_lies_elsewhere_is_never_read(run, tmp_path):
    write_reply(tmp_path / "journal.records", "somebody else's", "1" * 32)
    folder = run([replace(ROWS[0], key="1" * 32), *ROWS[1:]])
    header = {"plan": PLAN, "scorers": {"quiz": ""}, "journals": [["../journal.records", 1, 2]]}
    tables.write_scores(tables.scores_path(folder, PLAN), [replace(ROWS[0], key="1" * 32)], header)
    assert read_run(folder).reply("quiz", 0) is None, "no journal of its own: there are no texts"
    (folder / "journal.records").symlink_to(tmp_path / "journal.records")
    assert read_run(folder).reply("quiz", 0) is None


def test_a_suite_that_must_be_whole_says_what_is_missing(run):
    *_, defect = told(read_run(run(suites=[suite_record(complete=True)])).suites["quiz"].facts.defects)
    assert "2 of 5 requests have no answer" in defect


def test_answers_that_no_judge_graded_withhold_the_verdict(run):
    rows = [replace(ROWS[0], item=f"q{n}") for n in range(40)]
    rows.append(Graded("last", 0, None, "grade_error", "unjudged", suite="quiz", offset=4))
    *_, defect = told(read_run(run(rows)).suites["quiz"].facts.defects)
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
    add_session(folder, plan="c" * 64, suites=[suite_record(items=5), suite_record("other")])
    add_session(folder, suites=[suite_record(items=2)])
    (note,) = told(read_run(folder).notes)
    assert "quiz 2 items x 1 of 5 x 1" in note
    assert "other not at all" in note
    assert note.startswith("ref: what its last session asked is compared")


def test_a_last_session_that_asked_more_needs_no_word(run):
    folder = run()
    add_session(folder, plan="c" * 64, suites=[suite_record(items=2)])
    add_session(folder)
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
    with pytest.raises(
        RunError, match=r"ref: is not graded yet \(there is no scores-aaaaaaaaaaaa.parquet\).*evalkit score"
    ):
        read_run(folder)


def test_scores_without_the_journal_that_they_come_from_are_a_defect(run, tmp_path):
    write_reply(tmp_path / "ref" / "journal.records", "x")
    folder = run()
    assert not read_run(folder).suites["quiz"].facts.defects
    (folder / "journal.records").unlink()
    assert "ref: its journal is gone" in told(read_run(folder).suites["quiz"].facts.defects)[0]


@pytest.mark.parametrize("name", ["journal.records", "journal-2.records"])
@pytest.mark.parametrize("left", [None, 0, 100])
def test_scores_of_answers_that_are_lost_are_neither_used_nor_made_again(run, tmp_path, name, left):
    for one in ("journal.records", "journal-2.records"):
        for n in range(4):
            write_reply(tmp_path / "ref" / one, "x" * 100, f"{n}" * 32)
    folder = run()
    path, scores = folder / name, tables.scores_path(folder, PLAN)
    before = path.stat().st_size, scores.read_bytes()
    if left is None:
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(RunError, match=rf"{name}: holds {left or 0} of the {before[0]} bytes that were graded: put it"):
        read_run(folder)
    assert scores.read_bytes() == before[1]


def test_a_header_that_is_no_list_of_journals_is_no_proof(tmp_path):
    for said in ("x", [1], [["a"]], [["journal.records", "1"]], {"a": 1}):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        write_reply(folder / "journal.records", "x")
        write_tables(folder, ROWS)
        header = {"plan": PLAN, "scorers": {"quiz": ""}, "journals": said}
        tables.write_scores(tables.scores_path(folder, PLAN), ROWS, header)
        add_session(folder)
        with pytest.raises(RunError, match="was made from other journals than lie beside it"):
            read_run(folder)


def test_what_cannot_be_made_again_here_says_why(run, tmp_path):
    write_reply(tmp_path / "ref" / "journal.records", "x")
    folder = run()
    write_reply(folder / "journal.records", "y", "2" * 32)
    with pytest.raises(
        RunError, match=r"made from other journals .*evalkit score.* \(here it cannot be made: its conf"
    ):
        read_run(folder)


def test_scores_of_another_version_are_not_read(run, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(parquet, "FORMAT", 0)
        folder = run()
    with pytest.raises(RunError, match=r"scores-aaaaaaaaaaaa.parquet: was made by another version of evalkit"):
        read_run(folder)


def test_scores_by_other_scorers_are_not_read(run):
    with pytest.raises(RunError, match="was made by other scorers"):
        read_run(run(scorers={"quiz": "choice@2"}))


def test_a_score_of_an_unknown_item_is_named(run):
    with pytest.raises(RunError, match="names 'q2', which the items do not"):
        read_run(run(listed=[ItemRow("quiz", "q1")]))


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data[:99] + b"?" + data[100:], lambda _: b""])
def test_items_that_are_damaged_are_named(run, change):
    folder = run()
    (path,) = folder.glob("items-*.parquet")
    path.write_bytes(change(path.read_bytes()))
    items.forget()
    with pytest.raises(RunError, match=rf"{path.name}: is damaged"):
        read_run(folder)


def test_items_of_another_suite_under_the_same_name_are_damage(run, tmp_path):
    folder = run()
    (path,) = folder.glob("items-*.parquet")
    write_items(tmp_path / "other", [ItemRow("quiz", "q1", weight=9.0)])
    (other,) = (tmp_path / "other").glob("items-*.parquet")
    path.write_bytes(other.read_bytes())
    items.forget()
    with pytest.raises(RunError, match="it is another file than its name says"):
        read_run(folder)


# ---------------------------------------------------------------- manifests


def lines_of(folder):
    return (folder / manifest.NAME).read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[:-1],
        lambda lines: [lines[0], lines[-1]],
        lambda lines: lines[::-1],
        lambda lines: [lines[0], *lines],
        lambda lines: [lines[0].replace(b'"margin_pt":1.5', b'"margin_pt":9.5'), *lines[1:]],
        lambda lines: [*lines, b"\n"],
        lambda lines: [],
    ],
)
def test_a_manifest_that_lost_or_changed_a_line_is_damaged(run, change):
    folder = run()
    add_session(folder)
    (folder / manifest.NAME).write_bytes(b"".join(change(lines_of(folder))))
    with pytest.raises(RunError, match=r"manifest.jsonl: is damaged: `evalkit run` or `evalkit score`"):
        read_run(folder)
    assert manifest.earlier(folder) is None


def test_a_damaged_manifest_is_begun_anew_and_kept(run):
    folder = run()
    session = manifest.latest(folder)
    whole = (folder / manifest.NAME).read_bytes()
    (folder / manifest.NAME).write_bytes(whole[:-3])
    (sentence,) = manifest.append(folder, session)
    assert "was damaged and is begun anew; the damaged one is kept as manifest.damaged" in sentence
    assert (folder / "manifest.damaged").read_bytes() == whole[:-3]
    assert manifest.sessions(folder) == [session]


@pytest.mark.parametrize(
    "changed",
    [
        {"plan": 1}, {"served": []}, {"suites": {}}, {"suites": [1]}, {"more": 1}, {"config": None}, {"name": None},
        {"in_flight": {"number": "1", "settled": True, "why": ""}}, {"in_flight": "x"}, {"answered": [1]}, {"format": 7}, {"versions": {"a": 1}},
    ],
)  # fmt: skip
def test_a_whole_manifest_of_another_shape_is_refused(run, changed):
    folder = run()
    content = orjson.dumps({**orjson.loads(lines_of(folder)[0]), **changed}) + b"\n"
    (folder / manifest.NAME).write_bytes(content + manifest.end_line(content))
    with pytest.raises(RunError, match=r"manifest.jsonl: (a session in it is none|was written by another version)"):
        read_run(folder)


def test_the_collector_is_on_again_whatever_happens(run, tmp_path):
    import gc

    read_run(run())
    assert gc.isenabled()
    with pytest.raises(RunError):
        read_run(tmp_path)
    assert gc.isenabled()


def test_what_stopped_the_run_is_its_sides_reason_with_how_much_was_answered(run):
    folder = run()
    add_session(folder, stopped=Stopped("connection refused at http://a/v1", "run again later"))
    side = read_run(folder)
    assert told([side.stopped]) == ["ref: connection refused at http://a/v1, 3 of 5 answered; run again later"]
    assert side.suites["quiz"].facts.lacking == ""


def test_what_stopped_a_suite_or_most_of_its_failures_is_why_it_lacks_answers(run):
    folder = run()
    assert (read_run(folder).stopped, read_run(folder).suites["quiz"].facts.lacking) == (None, "no route")
    add_session(folder, stopped=Stopped(suites={"quiz": "needs /v1/completions"}))
    assert (read_run(folder).stopped, read_run(folder).suites["quiz"].facts.lacking) == (None, "needs /v1/completions")
