"""Whose answers they are: names of one model, of another one, builds, what a comparison says of them."""

import json
from collections import Counter
from dataclasses import replace

import orjson
import pytest
from stored_run import journal_records

from evalkit.endpoint.identity import Names
from evalkit.errors import EndpointError
from evalkit.model import Reply, Usage, Verdict
from evalkit.render.words import say
from evalkit.run import journal, manifest
from evalkit.run.answerers import Answerers, blend, remarks, rows, second_run
from evalkit.run.manifest import Answered, Session
from evalkit.run.records import Answerer, framed

URL = "http://127.0.0.1:8000/v1"
SESSION = Session("cand", "p1", "2026-01-01", "m", {}, {}, {}, {}, [], same_names=["m", "/weights/m"], open_names=["n"])


def reply(model, fingerprint="", address=URL):
    return Reply("x", "", "stop", Usage(), model, 0.1, raw=b"{}", address=address, fingerprint=fingerprint)


def taken(names, *models, stored=()):
    answerers = Answerers("cand", names, Counter({Answerer(model, "", URL): n for model, n in stored}))
    for model in models:
        answerers.take(reply(model))
    return answerers.counts


LISTED = Names(frozenset({"m", "/weights/m"}), frozenset({"n"}), frozenset({"z"}))


@pytest.mark.parametrize(
    "models",
    [
        ("m", "m", "/weights/m", "m"),
        ("m", "n", "m"),
        ("tgi", "tgi"),
        (None, "m", None, "m"),
        ("m-2024-08-06", None, "m-2024-08-06"),
    ],
    ids=["an alias", "listed and not told apart", "a name of its own", "none now and then", "a dated name"],
)
def test_names_of_one_model_are_taken(models):
    counts = taken(LISTED, *models)
    assert sum(counts.values()) == len(models)


@pytest.mark.parametrize("models", [("m", "z"), ("m", "q"), ("q", "m"), ("q", "r"), ("n", "z"), ("m", None, "q")])
def test_a_second_model_stops_the_side_and_is_not_counted(models):
    *before, last = models
    counts = taken(LISTED, *before)
    answerers = Answerers("cand", LISTED, counts)
    with pytest.raises(EndpointError, match="cand: another model answers") as stopped:
        answerers.take(reply(last))
    assert f"1 answer by {before[0]!r}, now {last!r} at {URL}" in str(stopped.value)
    with pytest.raises(EndpointError, match="another model answers"):
        answerers.take(reply(before[0]))
    assert sum(counts.values()) == len(before), "what was in flight is asked again, so that the sentence counts all"


def test_a_first_answer_by_what_the_list_gives_to_another_model_stops_the_side():
    with pytest.raises(
        EndpointError, match=r"'/weights/m' or 'm' was asked for, and 'z' answers.*nothing of it is kept"
    ):
        taken(LISTED, "z")


def test_stored_answers_say_who_must_answer_the_rest():
    assert taken(LISTED, "q", stored=[("q", 1200)])[Answerer("q", "", URL)] == 1201
    with pytest.raises(EndpointError, match=r"1,200 answers by 'q', now 'm'"):
        taken(LISTED, "m", stored=[("q", 1200)])


def test_builds_and_addresses_are_counted_and_a_name_per_reply_says_nothing():
    answerers = Answerers("cand", LISTED)
    for number in range(3):
        answerers.take(reply("m", f"fp{number % 2}"))
    assert rows(answerers.counts) == [Answered("m", "fp0", URL, 2), Answered("m", "fp1", URL, 1)]
    for number in range(60):
        answerers.take(reply("m", f"fp{number}"))
    assert rows(answerers.counts) == [Answered("m", "", URL, 63)]


def answered(*counts, session=SESSION):
    return Session(
        **{f: getattr(session, f) for f in session.__slots__}
        | {"answered": [Answered(m, b, URL, n) for m, b, n in counts]}
    )


def test_a_blend_of_two_models_is_named_with_both():
    (reason,) = blend(answered(("m", "", 136), ("q", "", 64)))
    assert say(reason).startswith("cand: its answers are of several models: m (136), q (64): a blend")
    assert not list(blend(answered(("m", "", 136), ("/weights/m", "", 3), ("n", "", 1))))
    assert not list(blend(answered(("q", "", 200))))
    assert not list(blend(answered(("m", "", 100), ("", "", 100)))), "some replies name no model"


def test_names_that_may_be_two_models_and_builds_are_remarked():
    names, builds = (say(one) for one in remarks(answered(("m", "fp1", 2), ("n", "fp2", 1)), []))
    assert names.startswith("cand: its answers came under several names, m (2), n (1), and its list of models does not")
    assert builds.startswith("cand: its answers carry several system fingerprints, fp1 (2), fp2 (1): several builds")
    assert not list(remarks(answered(("m", "fp1", 2), ("/weights/m", "", 1)), []))


def test_a_second_run_by_another_model_is_held_against_the_first():
    (why,), notes = second_run(answered(("m", "", 136)), answered(("q", "", 64)))
    assert say(why).startswith(
        "cand: another model answered its second run: m (136) in the first, q (64) in the second"
    )
    assert not notes
    assert second_run(answered(("m", "fp1", 9)), answered(("/weights/m", "fp1", 3), ("", "", 4))) == ((), ())
    none, notes = second_run(answered(("m", "fp1", 9)), answered(("n", "fp2", 3)))
    assert [note.code for note in notes] == ["note.names", "note.builds"]
    assert not none


def test_a_single_name_that_nobody_lists_is_remarked():
    (reason,) = remarks(answered(("q", "", 200), ("", "", 3)), [])
    assert say(reason).startswith("cand: its answers came under the name q, where m was asked for: neither its list of")
    assert not list(remarks(answered(("n", "", 200)), []))


def test_an_address_that_gave_none_of_many_answers_is_remarked():
    def of(n, *urls):
        return replace(answered(("m", "", n)), config={"base_urls": list(urls)})

    (silent,) = remarks(of(200, URL, "http://dead/v1"), [])
    assert say(silent).startswith("cand: none of its 200 answers came from http://dead/v1: look whether")
    assert not list(remarks(of(200, URL), []))
    assert not list(remarks(of(3, URL, "http://dead/v1"), [])), "too few to tell"
    assert not list(remarks(of(200, "http://elsewhere/v1", "http://dead/v1"), [])), "stored under other addresses"


def test_a_server_that_changed_between_sessions_of_the_plan_is_remarked():
    def session(plan="p1", **endpoint):
        return Session("cand", plan, "2026-01-01", "m", {}, {}, endpoint, {}, [])

    sessions = [
        session(version="0.10", slots="4"),
        session(),
        session(version="0.11", slots="8"),
        session("p2", version="1"),
    ]
    (reason,) = remarks(sessions[0], sessions)
    assert say(reason) == "cand: what serves it changed between its answers: version 0.10, then 0.11"


# ---------------------------------------------------------------- whole runs


FAULTY = {"id": "faulty", "root": "/weights/a"}
OTHER = {"id": "other", "root": "/weights/b"}


@pytest.fixture
def asked(faulty, questions, run_evalkit):
    """Runs 60 questions against the server; its exit code, its words, the last session of its manifest."""

    def ask(*plan, items=60, **more):
        faulty.plan(*plan)
        config = questions(faulty.url, items, concurrency=4, **more)
        done = run_evalkit("run", config, "--quiet")
        return done, manifest.latest(config.parent / "runs" / "side")

    return ask


def test_a_server_that_becomes_another_model_in_mid_run_stops_the_side(asked, ended):
    done, session = asked({"kind": "another", "after": 30, "told": [{"model": "other"}]})
    assert done.returncode == 3
    assert "another model answers" in done.stderr
    kept = ended(60)
    assert {record["body"]["model"] for record in kept.replies} == {"faulty"}
    (row,) = session.answered
    assert (row.model, row.answers) == ("faulty", len(kept.replies))
    assert 26 <= row.answers <= 30
    assert f"{row.answers} answers by 'faulty', now 'other'" in done.stderr


def test_a_run_goes_on_once_the_right_model_is_back_and_not_before(asked, faulty, questions, run_evalkit):
    asked({"kind": "another", "after": 30, "told": [{"model": "other"}]})
    done, session = asked({"kind": "another", "after": 0, "told": [{"model": "other"}]})
    assert done.returncode == 3, "what is stored says who must answer the rest"
    done, session = asked()
    assert done.returncode == 0
    assert [(row.model, row.answers) for row in session.answered] == [("faulty", 60)]


@pytest.mark.parametrize("named", ["other", "faulty"])
def test_after_an_outage_the_endpoint_is_looked_at_before_more_is_asked(asked, ended, named):
    """Restarted as another model: under another name, or under the same one with other weights behind it."""
    back = {"kind": "another", "after": 30, "seconds": 0.5, "listed": [OTHER | {"id": named}]}
    done, session = asked({"kind": "another", "listed": [FAULTY]}, back)
    assert done.returncode == 3
    assert "came back from an outage" in done.stderr
    assert sum(row.answers for row in session.answered) == len(ended(60).replies) <= 30


def test_a_restart_of_the_same_model_is_no_other(asked):
    done, session = asked({"kind": "another", "after": 30, "seconds": 0.5, "listed": [{"id": "faulty"}, OTHER]})
    assert done.returncode == 0
    assert [(row.model, row.answers) for row in session.answered] == [("faulty", 60)]


@pytest.mark.parametrize(
    ("listed", "told_names"),
    [
        ([FAULTY, FAULTY | {"id": "tiny"}], ["faulty", "tiny"]),
        ([{"id": "faulty"}, {"id": "tiny"}], ["faulty", "tiny"]),
        ([FAULTY], ["/weights/a"]),
        ([{"id": "faulty"}], ["faulty-2026-01-01"]),
    ],
    ids=["two served names", "two that are not told apart", "a path", "a dated name"],
)
def test_names_of_one_model_stop_nothing(asked, listed, told_names):
    names = [{"model": name} for name in told_names]
    done, session = asked({"kind": "another", "listed": listed, "told": names})
    assert done.returncode == 0
    assert {row.model for row in session.answered} == set(told_names)
    assert not list(blend(session))


def test_aliases_of_the_configuration_are_names_of_the_model(faulty, questions, run_evalkit):
    faulty.plan({"kind": "another", "told": [{"model": "faulty"}, {"model": "tiny"}]})
    config = questions(faulty.url, 20, concurrency=1)
    assert run_evalkit("run", config, "--quiet").returncode == 3
    config.write_text(config.read_text() + "aliases: [tiny]\n")
    assert run_evalkit("run", config, "--quiet").returncode == 0


def test_a_run_blended_from_two_models_is_invalid_with_both_named(asked, questions, faulty, run_evalkit, tmp_path):
    asked({"kind": "another", "told": [{"model": "faulty", "system_fingerprint": "fp1"}]})
    folder = tmp_path / "runs" / "side"
    lines = journal_records(folder)
    for line in lines[:20]:  # as a shard of a machine would bring them that asked another server
        line["body"]["model"] = "other"
    (folder / journal.NAME).write_bytes(b"".join(framed(line.pop("key"), orjson.dumps(line)) for line in lines))
    config = questions(faulty.url, 60, concurrency=4)
    assert run_evalkit("score", config).returncode == 0
    other = tmp_path / "other.yaml"
    other.write_text(config.read_text().replace("name: side", "name: second"))
    assert run_evalkit("run", other, "--quiet").returncode == 0
    done = run_evalkit("compare", folder, tmp_path / "runs" / "second", "--json")
    assert json.loads(done.stdout)["verdict"] == Verdict.INVALID
    assert done.returncode == 3
    (suite,) = json.loads(done.stdout)["suites"]
    assert {"run": "side", "models": ["faulty (40)", "other (20)"]} in [reason["values"] for reason in suite["reasons"]]
