"""Reading a stored run: what it holds as columns, what a damaged or foreign folder says, which session counts."""

import json

import numpy as np
import pytest

from evalkit.errors import RunError
from evalkit.run import manifest
from evalkit.run import rows as store
from evalkit.run.read import is_run, read_run

PLAN = "a" * 64
ROWS = [
    {"k": "1", "j": 0, "s": "quiz", "i": "q1", "r": 0, "v": 1.0, "st": "scored", "why": "right", "a": "A", "h": "0" * 15 + "1", "n": 9, "p": 40, "c": 7, "sec": 1.5, "l": 1.0},
    {"k": "2", "j": 88, "s": "quiz", "i": "q2", "r": 0, "v": 0.0, "st": "truncated", "why": "truncated", "h": "f" * 16, "n": 3, "p": 41, "c": 99, "sec": 2.0, "cut": True},
    {"k": "3", "j": 99, "s": "quiz", "i": "q3", "r": 0, "v": 0.0, "st": "no_answer", "why": "none", "h": "", "n": 3, "p": 42, "c": 5, "sec": 2.0, "loop": True},
    {"s": "quiz", "i": "q4", "r": 0, "v": None, "st": "failed", "why": "no route", "f": "connection"},
    {"s": "quiz", "i": "q5", "r": 0, "v": None, "st": "not_asked", "why": "", "f": ""},
]  # fmt: skip


def block(suite="quiz", **changed):
    return {
        "suite": suite, "label": suite.title(), "margin_pt": 1.5, "headline": "micro", "chance": 0.25, "right_or_wrong": False, "gated": False,
        "licence": "none", "repeats": 1, "items": 5, "items_in_data": 5, "rows": None, "notes": [], "complete": False,
        "parameters": {"model": "m", "temperature": 0.0, "max_tokens": 64}, "digests": {"data": "d", "prompts": "p"},
        **changed,
    }  # fmt: skip


def session(folder, plan=PLAN, suites=None, **changed):
    line = {
        "format": manifest.FORMAT, "name": "ref", "run_id": plan[:12], "plan": plan, "started": "2026-01-01T00:00:00",
        "model": "m", "served": {"build": "b7"}, "versions": {}, "endpoint": {"server": "vLLM"}, "config": {"name": "ref"},
        "suites": suites or [block()], **changed,
    }  # fmt: skip
    manifest.append(folder, line)


@pytest.fixture
def run(tmp_path):
    """Writes a run folder of these score rows."""

    def write(rows=ROWS, suites=None, journals=("journal.jsonl",), items=None):
        folder = tmp_path / "ref"
        folder.mkdir(exist_ok=True)
        names = items or dict.fromkeys((row["s"], row["i"]) for row in rows)
        store.write_lines(store.items_path(folder, PLAN), ({"s": s, "i": i, "stratum": ["x"]} for s, i in names))
        docs = ({"s": s, "i": i, "question": f"What is {i}?", "target": "A"} for s, i in names)
        store.write_lines(store.docs_path(folder, PLAN), docs)
        header = {"format": store.SCORES_FORMAT, "journals": list(journals)}
        store.write_lines(store.scores_path(folder, PLAN), [header, *rows])
        session(folder, suites=suites)
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
    rows = [
        {"s": suite, "i": f"q{n}", "r": 0, "v": float(n % 2), "st": "scored"} for n in range(5000) for suite in "ab"
    ]
    side = read_run(run(rows, [block("a"), block("b")]))
    assert {name: len(suite.samples) for name, suite in side.suites.items()} == {"a": 5000, "b": 5000}
    assert all(suite.samples.value.mean() == 0.5 for suite in side.suites.values())


def test_facts_come_from_the_manifest(run):
    side = read_run(run(suites=[block(items_in_data=20)]))
    facts = side.suites["quiz"].facts
    assert (facts.margin, facts.chance, facts.greedy, facts.repeats) == (0.015, 0.25, True, 1)
    assert facts.digests == {"data": "d", "prompts": "p", "sampling.temperature": "0.0", "sampling.max_tokens": "64"}
    assert facts.notes == ("5 of 20 items",)
    assert (side.identity.name, side.identity.endpoint) == ("ref", {"server": "vLLM", "build": "b7"})


def test_replies_and_questions_are_fetched_from_where_they_lie(run):
    folder = run(
        [{**ROWS[0], "j": 0}, {**ROWS[1], "j": 0, "jf": 1}, *ROWS[3:]], journals=("journal.jsonl", "journal-2.jsonl")
    )
    for name, text in (("journal.jsonl", "first"), ("journal-2.jsonl", "second")):
        choice = {"message": {"content": text}, "finish_reason": "stop"}
        record = {"t": "reply", "key": "1", "seconds": 1.0, "body": {"choices": [choice], "usage": {}}}
        (folder / name).write_text(json.dumps(record) + "\n")
    side = read_run(folder)
    row = by_item(side.suites["quiz"].samples)
    assert side.reply("quiz", row["q1"]).content == "first"
    assert side.reply("quiz", row["q2"]).content == "second"
    assert side.reply("quiz", row["q4"]) is None
    assert (side.item("quiz", "q2").question, side.item("quiz", "q2").target) == ("What is q2?", "A")
    assert side.item("quiz", "nobody") is None


def test_a_suite_that_must_be_whole_says_what_is_missing(run):
    (defect,) = read_run(run(suites=[block(complete=True)])).suites["quiz"].facts.defects
    assert "2 of 5 requests have no answer" in defect


def test_answers_that_no_judge_graded_withhold_the_verdict(run):
    rows = [{**ROWS[0], "i": f"q{n}"} for n in range(40)]
    rows.append({"s": "quiz", "i": "last", "r": 0, "v": None, "st": "grade_error", "why": "unjudged", "j": 4})
    (defect,) = read_run(run(rows)).suites["quiz"].facts.defects
    assert "1 of 41 answers are unjudged" in defect


def test_log_probabilities_of_options_are_kept(run):
    metrics = {"logprob_A": -0.5, "logprob_B": -2.0, "other": 1.0}
    side = read_run(run([{**ROWS[0], "m": metrics}, *ROWS[1:]]))
    assert side.suites["quiz"].options == {("q1", 0): (-0.5, -2.0)}


@pytest.mark.parametrize(("right_or_wrong", "step"), [(True, 1.0), (False, None)])
def test_a_suite_whose_scores_are_right_or_wrong_says_so_and_has_a_step(run, right_or_wrong, step):
    assert read_run(run(suites=[block(right_or_wrong=right_or_wrong)])).suites["quiz"].facts.step == step


# ---------------------------------------------------------------- which session counts


def test_a_last_session_that_asked_less_is_named(run):
    folder = run(suites=[block(items=2)])
    assert read_run(folder).notes == ()
    whole = (folder / manifest.NAME).read_text()
    (folder / manifest.NAME).write_text("")
    session(folder, plan="c" * 64, suites=[block(items=5), block("other")])
    with (folder / manifest.NAME).open("a") as lines:
        lines.write(whole)
    (note,) = read_run(folder).notes
    assert "quiz 2 items x 1 of 5 x 1" in note
    assert "other not at all" in note
    assert note.startswith("ref: what its last session asked is compared")


def test_a_last_session_that_asked_more_needs_no_word(run):
    folder = run()
    line = (folder / manifest.NAME).read_text()
    (folder / manifest.NAME).write_text("")
    session(folder, plan="c" * 64, suites=[block(items=2)])
    with (folder / manifest.NAME).open("a") as lines:
        lines.write(line)
    assert read_run(folder).notes == ()


def test_a_session_is_found_by_its_plan(run):
    folder = run()
    session(folder, plan="d" * 64, suites=[block(items=1)])
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
    store.scores_path(folder, PLAN).unlink()
    with pytest.raises(RunError, match="has no scores yet: run `evalkit score`"):
        read_run(folder)


def test_scores_of_another_version_are_not_read(run):
    folder = run()
    path = store.scores_path(folder, PLAN)
    path.write_text(path.read_text().replace(f'"format":{store.SCORES_FORMAT}', '"format":1'))
    with pytest.raises(RunError, match="another version of evalkit"):
        read_run(folder)


def test_a_damaged_line_is_named(run):
    folder = run()
    path = store.scores_path(folder, PLAN)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], lines[3][:20], *lines[4:]]) + "\n")
    with pytest.raises(RunError, match=r"jsonl:4: is damaged: `evalkit score` makes it again"):
        read_run(folder)


def test_a_score_of_an_unknown_item_is_named(run):
    folder = run(items=[("quiz", "q1")])
    with pytest.raises(RunError, match="names 'q2', which the items do not"):
        read_run(folder)


def test_a_file_without_a_last_line_feed_is_whole(run):
    folder = run()
    path = store.scores_path(folder, PLAN)
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert len(read_run(folder).suites["quiz"].samples) == 5


def test_the_collector_is_on_again_whatever_happens(run, tmp_path):
    import gc

    read_run(run())
    assert gc.isenabled()
    with pytest.raises(RunError):
        read_run(tmp_path)
    assert gc.isenabled()
