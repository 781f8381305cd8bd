"""Stored answers are not taken for those of a server that has changed behind its address."""

import itertools
import json
import re

import pytest

from evalkit.run import manifest

MANY = {"name": "mmlu_gen_5shot", "partial_data": True, "margin_pt": 15}


def told(done):
    return " ".join((done.stdout + done.stderr).split())


@pytest.fixture
def compared(endpoint, other_endpoint, config, run_evalkit):
    """Two equal sides, run and compared once; a function that compares them again with further options."""
    ref, cand = config("ref", endpoint.url, [MANY]), config("cand", other_endpoint.url, [MANY])
    first = run_evalkit("compare", ref, cand)
    assert first.returncode == 0, first.stderr
    assert "asked for again" not in told(first)
    assert "no new answer" not in told(first)
    return lambda *more: run_evalkit("compare", ref, cand, *more)


def worse(messages):
    """Another model: other words, and mostly wrong."""
    return f"My guess would be this one here, though I cannot be sure of it at all. Answer: {'ABCD'[len(messages) % 4]}"


def test_a_server_that_became_worse_stops_the_comparison(compared, endpoint, other_endpoint, tmp_path):
    asked = len(endpoint.requests), len(other_endpoint.requests)
    other_endpoint.answer = worse
    stopped = compared()
    assert stopped.returncode == 2
    assert "cand.yaml:" in stopped.stderr
    assert f"another server answers at {other_endpoint.url} than the one that gave the stored answers of cand" in told(
        stopped
    )
    assert "`--stored`" in stopped.stderr
    assert "`--again`" in stopped.stderr
    assert (len(endpoint.requests) - asked[0], len(other_endpoint.requests) - asked[1]) == (24, 24)
    taken = compared("--stored", "--json")
    assert taken.returncode == 0
    assert json.loads(taken.stdout)["verdict"] == "EQUIVALENT"
    pattern = r"evalkit: no new answer of {} counts \(--stored\): its answers are those of 20\d\d-\d\d-\d\d \d\d:\d\d UTC from {}"
    said = [line for line in taken.stderr.splitlines() if "no new answer" in line]
    assert re.match(pattern.format("ref", re.escape(endpoint.url)), said[0])
    assert re.match(pattern.format("cand", re.escape(other_endpoint.url)), said[1])
    assert len(endpoint.requests) - asked[0] == 24, "--stored asks nothing"
    anew = compared("--again")
    assert anew.returncode == 1, told(anew)
    assert "what was answered before is kept as cand.before-20" in told(anew)
    (kept,) = (tmp_path / "runs").glob("cand.before-*")
    assert manifest.latest(kept).name == "cand"


def test_the_same_server_is_said_to_be_the_same_and_what_that_cost(compared, endpoint, tmp_path):
    asked = len(endpoint.requests)
    again = compared()
    assert again.returncode == 0
    pattern = (
        r"of the stored answers of ref, 12 were asked for again \(24 requests, [\d,]+ tokens, [\d.]+ s\): the server"
    )
    assert re.search(pattern, told(again))
    assert len(endpoint.requests) == asked + 24
    session = manifest.latest(tmp_path / "runs" / "ref")
    assert (session.rechecked.word, session.rechecked.asked, session.rechecked.differing) == ("same", 12, 0)
    assert sum(row.answers for row in session.answered) == 60, "what came back is no answer of the run"


def test_an_endpoint_that_is_down_is_said_in_the_first_line(compared, endpoint, other_endpoint):
    other_endpoint.close()
    done = compared()
    assert done.returncode == 0
    said = [line for line in done.stderr.splitlines() if "no new answer of cand counts" in line]
    assert said
    assert f"UTC from {other_endpoint.url}" in said[0]
    assert "no new answer of ref" not in told(done)


def test_a_server_that_refuses_what_it_is_said_to_have_answered_is_another(compared, other_endpoint):
    refusal = (400, {"error": {"message": "context too long for this model: 20 tokens"}})
    other_endpoint.spoil = lambda body, _number: refusal if len(json.dumps(body["messages"])) > 500 else None
    done = compared()
    assert done.returncode == 2
    assert "answers none of 12 requests that cand has stored answers to" in told(done)
    assert "context too long" in told(done)
    assert "`--stored`" in done.stderr


def test_a_server_that_aborts_all_that_is_asked_again_gives_no_new_answer(compared, other_endpoint):
    aborted = {"id": "x", "choices": [{"index": 0, "message": {"content": "A"}, "finish_reason": "abort"}]}
    other_endpoint.spoil = lambda body, _number: (200, aborted) if len(json.dumps(body["messages"])) > 500 else None
    done = compared()
    assert done.returncode == 0
    assert "no new answer of cand counts" in told(done)
    assert "abort" in told(done)


def test_another_model_behind_the_address_stops_it_too(compared, other_endpoint):
    other_endpoint.model = "another"
    done = compared()
    assert done.returncode == 2
    assert "is not served at" in done.stderr
    assert "`--stored`" in done.stderr


def test_two_folders_say_when_and_by_what_they_were_answered(compared, run_evalkit, tmp_path, endpoint):
    done = run_evalkit("compare", tmp_path / "runs" / "ref", tmp_path / "runs" / "cand")
    assert f"UTC from {endpoint.url}" in done.stderr.splitlines()[0], done.stderr
    refused = run_evalkit("compare", tmp_path / "runs" / "ref", tmp_path / "runs" / "cand", "--stored")
    assert refused.returncode == 2


def test_a_server_that_never_repeats_itself_is_left_open(endpoint, other_endpoint, config, run_evalkit):
    count = itertools.count()

    def noisy(messages):
        question = messages[-1]["content"]
        right = re.findall(r"hint (\w)", question)[-1] if sum(question.encode()) % 20 else "A"
        return f"{next(count)} is where I begin, and so I say\nAnswer: {right}"

    endpoint.answer = other_endpoint.answer = noisy
    ref, cand = config("ref", endpoint.url, [MANY]), config("cand", other_endpoint.url, [MANY])
    first = run_evalkit("compare", ref, cand)
    assert first.returncode == 0, told(first)
    again = run_evalkit("compare", ref, cand)
    assert again.returncode == 0, told(again)
    assert "the server differs so much from itself that nobody can say" in told(again)
    other_endpoint.answer = lambda messages: f"{next(count)} is no help to me. Answer: Z"
    assert run_evalkit("compare", ref, cand).returncode == 2


def test_a_run_that_another_server_would_go_on_with_stops(endpoint, config, run_evalkit, tmp_path):
    path = config("ref", endpoint.url, [MANY])
    assert run_evalkit("run", path, "--limit", "30", "--quiet").returncode == 0
    asked = len(endpoint.requests)
    same = run_evalkit("run", path, "--limit", "40", "--quiet")
    assert same.returncode == 0, told(same)
    assert "of the stored answers of ref, 12 were asked for again (24 requests," in told(same)
    again = len(endpoint.requests)
    assert again - asked == 24 + 10
    assert manifest.latest(tmp_path / "runs" / "ref").rechecked.word == "same"
    assert run_evalkit("run", path, "--limit", "40", "--quiet").returncode == 0
    assert len(endpoint.requests) == again, "where nothing is missing nothing is asked"
    endpoint.answer = worse
    stopped = run_evalkit("run", path, "--quiet")
    assert (stopped.returncode, len(endpoint.requests)) == (2, again + 24)
    assert "another server answers at" in stopped.stderr
    assert run_evalkit("run", path, "--limit", "50", "--stored", "--quiet").returncode == 0
    assert len(endpoint.requests) == again + 24 + 10, "--stored asks what is missing, and that alone"
    anew = run_evalkit("run", path, "--again", "--quiet")
    assert anew.returncode == 0, told(anew)
    assert "what was answered before is kept as ref.before-20" in told(anew)
    assert run_evalkit("run", path, "--again", "--stored").returncode == 2


def test_the_noise_of_another_server_is_not_taken_for_that_of_the_stored_answers(endpoint, config, run_evalkit):
    path = config("ref", endpoint.url, [MANY])
    assert run_evalkit("run", path, "--quiet").returncode == 0
    right, endpoint.answer = endpoint.answer, worse
    stopped = run_evalkit("aa", path)
    assert stopped.returncode == 2
    assert "another server answers at" in stopped.stderr
    endpoint.answer = right
    done = run_evalkit("aa", path)
    assert done.returncode == 0, told(done)
    assert "of the stored answers of ref, 12 were asked for again" in told(done)
    endpoint.answer = worse
    assert run_evalkit("aa", path, "--stored").returncode == 0, "both runs are stored"
    anew = run_evalkit("aa", path, "--again")
    assert "ref-aa.before-20" in told(anew)
    assert "ref.before-20" in told(anew)


def test_stored_and_again_exclude_each_other(config, endpoint, run_evalkit):
    path = config("ref", endpoint.url, [MANY])
    done = run_evalkit("compare", path, path, "--stored", "--again")
    assert done.returncode == 2
    assert "not both" in done.stderr


def test_of_long_thinking_only_the_beginning_is_asked_for(endpoint, other_endpoint, config, run_evalkit):
    """The server cuts at the limit, in the middle of the thinking, as servers do."""

    def thinking(words):
        def spoil(body, _number):
            thought, limit = " ".join(f"{words}{n}" for n in range(2_000)), body["max_tokens"]
            text, reason = f"Answer: {re.findall(r'hint (.)', body['messages'][-1]['content'])[-1]}", "stop"
            if limit < 4_000:
                thought, text, reason = thought[: 4 * limit], "", "length"
            message = {"role": "assistant", "content": text, "reasoning_content": thought}
            usage = {"prompt_tokens": 9, "completion_tokens": min(limit, 4_000)}
            choice = {"index": 0, "message": message, "finish_reason": reason}
            return 200, {"id": "x", "model": "loopback", "choices": [choice], "usage": usage}

        return spoil

    endpoint.spoil = other_endpoint.spoil = thinking("so")
    more = {"sampling": {"max_tokens": 8_000}}
    ref, cand = config("ref", endpoint.url, [MANY], **more), config("cand", other_endpoint.url, [MANY], **more)
    run_evalkit("compare", ref, cand)
    asked = len(endpoint.requests)
    again = run_evalkit("compare", ref, cand)
    assert "of the stored answers of ref, 12 were asked for again (24 requests, 6,144 tokens," in told(again)
    assert {body["max_tokens"] for body in endpoint.requests[asked:]} == {256}
    other_endpoint.spoil = thinking("but")
    assert run_evalkit("compare", ref, cand).returncode == 2


def test_two_sides_at_one_address_are_said_to_be_one_server(config, endpoint, run_evalkit):
    ref, cand = config("ref", endpoint.url, [MANY]), config("cand", f"{endpoint.url}/", [MANY])
    said = f"both sides ask loopback at {endpoint.url}: this compares a server with itself"
    assert said in told(run_evalkit("compare", ref, cand))
    assert said not in told(run_evalkit("compare", ref, config("cand", endpoint.url, [MANY], build="another")))


def test_a_server_that_became_worse_in_one_of_several_suites_stops_it(endpoint, other_endpoint, config, run_evalkit):
    """Its texts are the longest and the costliest: it is asked like the others, and more where it differs."""

    def said(words, worse):
        def answer(messages):
            question = messages[-1]["content"]
            hint = (re.findall(r"hint (\w+)", question) or ["A"])[-1]
            mathematics = "boxed" in question
            wrong = worse and mathematics
            thought = " ".join(f"{words if mathematics else 'so'}{n}" for n in range(400 if mathematics else 20))
            return f"{thought} \\boxed{{{999 if wrong else hint}}}" if mathematics else f"{thought} Answer: {hint}"

        return answer

    suites = [{**MANY, "margin_pt": 30}, {"name": "aime24", "partial_data": True, "margin_pt": 40}]
    endpoint.answer = other_endpoint.answer = said("so", worse=False)
    ref, cand = config("ref", endpoint.url, suites), config("cand", other_endpoint.url, suites)
    run_evalkit("compare", ref, cand)
    asked = len(endpoint.requests)
    other_endpoint.answer = said("but", worse=True)
    stopped = run_evalkit("compare", ref, cand)
    assert stopped.returncode == 2, told(stopped)
    assert "that gave the stored answers of cand" in told(stopped)
    again = ["boxed" in str(body["messages"]) for body in endpoint.requests[asked:]]
    assert (len(again), sum(again)) == (24, 12), "each suite is asked in turn, and no more than before"
