"""MMLU by log-likelihood against a server with vLLM's completions shape, and the sentence for one without it."""

import hashlib
import json
import math
import re

import pyarrow.parquet as pq
import pytest

from evalkit.endpoint.echo import continuation_logprob, echoed_logprobs
from evalkit.model import Status
from evalkit.scoring.multiple_choice import score_logprobs

SUITE = {"name": "mmlu_logprob", "partial_data": True, "margin_pt": 20}


def tokens_of(text):
    return re.findall(r" ?\w+|\W", text)


def vllm_completion(body, shift=0.0):
    """Echoes the prompt with a log-probability a token; the hinted option is the likeliest for most questions."""
    prompt = body["prompt"]
    tokens = tokens_of(prompt)
    values = [None] + [-1.0] * (len(tokens) - 1)
    question = prompt.rsplit("\n\n", 1)[-1]
    hint = re.search(r"hint (\w)", question).group(1) if "hint" in question else "A"
    noise = int(hashlib.sha256(question[:-1].encode()).hexdigest(), 16) % 3
    values[-1] = (-0.5 if prompt[-1] == hint and noise else -2.0 - ord(prompt[-1]) / 1000) + shift
    logprobs = {"tokens": [*tokens, " x"], "token_logprobs": [*values, -0.1]}
    choice = {
        "index": 0,
        "text": prompt + " x",
        "finish_reason": "length",
        "logprobs": logprobs if body.get("echo") else None,
    }
    return {
        "id": "c",
        "model": "loopback",
        "choices": [choice],
        "usage": {"prompt_tokens": len(tokens), "completion_tokens": 1},
    }


def test_each_option_is_asked_once_and_the_likeliest_is_the_answer(endpoint, config, run_evalkit, tmp_path):
    endpoint.complete = vllm_completion
    done = run_evalkit("run", config("ref", endpoint.url, [SUITE]), "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    (suite,) = json.loads(done.stdout)["suites"]
    assert (suite["planned"], suite["valued"]) == (60, 60)
    assert 0.5 < suite["mean"] < 1
    bodies = [body for body in endpoint.requests if "Two and two" not in body["prompt"]]
    assert len(bodies) == 240
    assert len({body["prompt"] for body in bodies}) == 240
    assert all(body["echo"] and body["logprobs"] == 1 and body["prompt"].count("Answer:") == 6 for body in bodies)
    (scores,) = (tmp_path / "runs" / "ref").glob("scores-*.parquet")
    rows = pq.read_table(scores).column("metrics").to_pylist()
    assert all(
        {name for name, _value in row} == {"p_gold", *(f"logprob_{letter}" for letter in "ABCD")} for row in rows
    )


def test_one_bad_number_before_the_suite_drops_no_suite(endpoint, config, run_evalkit):
    def complete(body):
        answered = vllm_completion(body)
        if body["prompt"].startswith("Two and two"):
            answered["choices"][0]["logprobs"]["token_logprobs"][-2] = None
        return answered

    endpoint.complete = complete
    done = run_evalkit("run", config("ref", endpoint.url, [SUITE]), "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["suites"][0]["valued"] == 60


def test_a_chat_only_endpoint_gets_a_sentence_and_its_other_suites_run(endpoint, config, run_evalkit):
    done = run_evalkit("run", config("ref", endpoint.url, [SUITE, "aime24"]), "--json", "--quiet")
    assert done.returncode == 3
    assert "needs /v1/completions with `echo` and `logprobs`" in done.stderr
    suites = {suite["suite"]: suite for suite in json.loads(done.stdout)["suites"]}
    assert suites["mmlu_logprob"]["counts"] == {"not_asked": 60}
    assert suites["aime24"]["valued"] == 30


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"text": " x"}, "its reply does not begin with the prompt"),
        ({"logprobs": {"content": []}}, "its reply has no log-probabilities"),
        ({"logprobs": None}, "its reply has no log-probabilities"),
        ({"logprobs": "numbers"}, "its reply gives no numbers for the last tokens of the prompt"),
    ],
)
def test_a_server_that_ignores_echo_or_logprobs_is_found_out(endpoint, config, run_evalkit, change, said):
    def ignoring(body):
        reply = vllm_completion(body)
        choice = reply["choices"][0]
        if change == {"logprobs": "numbers"}:
            choice["logprobs"]["token_logprobs"] = [math.inf] * len(choice["logprobs"]["tokens"])
        else:
            choice |= change
        return reply

    endpoint.complete = ignoring
    done = run_evalkit("run", config("ref", endpoint.url, [SUITE]), "--quiet")
    assert done.returncode == 3
    assert f"which this endpoint does not give ({said})" in done.stderr
    assert len(endpoint.requests) == (3 if "no numbers" in said else 1), "another prompt may have some"


def test_the_sum_runs_over_the_tokens_of_the_continuation_only():
    body = {
        "usage": {"prompt_tokens": 4},
        "choices": [
            {"logprobs": {"tokens": ["a", "Answer", ":", " B", "!"], "token_logprobs": [None, -1.0, -2.0, -0.25, -9.0]}}
        ],
    }
    echo = echoed_logprobs(body)
    assert continuation_logprob(echo, " B") == -0.25
    assert continuation_logprob(echo, ": B") == -2.25
    assert continuation_logprob(echo, " C") is None


@pytest.mark.parametrize("logprobs", [[None, -1.0], [-1.0, math.nan], [-1.0, -1.0], [0.0, -0.0]])
def test_an_unknown_log_probability_or_the_same_for_all_options_is_no_answer(logprobs):
    found = score_logprobs({"answer": "A", "continuations": [" A", " B"]}, logprobs)
    assert (found.value, found.answer, found.status) == (None, None, Status.GRADE_ERROR)


def spoilt(reply, value):
    """The reply with another number for the option, or with a number too few."""
    values = reply["choices"][0]["logprobs"]["token_logprobs"]
    if value == "too few":
        values.pop()
    else:
        values[-2] = value
    return reply


@pytest.mark.parametrize("value", [None, math.nan, 0.7, "-1.5", "too few"])
def test_a_reply_without_a_number_for_its_option_is_asked_for_again(endpoint, config, run_evalkit, value):
    """Each question's last option comes without at first."""
    seen = set()

    def breaking(body):
        first = body["prompt"] not in seen
        seen.add(body["prompt"])
        reply = vllm_completion(body)
        return spoilt(reply, value) if first and body["prompt"].endswith(" D") else reply

    endpoint.complete = breaking
    suite = {**SUITE, "limit": 8}
    done = run_evalkit("run", config("ref", endpoint.url, [suite]), "--json", "--quiet")
    (told,) = json.loads(done.stdout)["suites"]
    assert (done.returncode, told["planned"], told["valued"]) == (0, 8, 8), done.stderr
    assert len(endpoint.requests) == 1 + 8 * 4 + 8


def test_replies_that_never_have_their_number_are_counted_with_the_cause(endpoint, other_endpoint, config, run_evalkit):
    def breaking(body):
        reply = vllm_completion(body)
        return spoilt(reply, None) if body["prompt"].endswith(" D") and "anatomy" in body["prompt"] else reply

    endpoint.complete, other_endpoint.complete = vllm_completion, breaking
    sides = config("ref", endpoint.url, [SUITE]), config("cand", other_endpoint.url, [SUITE], limits={"retries": 0})
    done = run_evalkit("compare", *sides, "--quiet")
    assert done.returncode == 3, done.stderr
    assert "40 of 60 have a score (failed 20 (malformed 20)): the reply has no log-probabilities" in " ".join(
        done.stdout.split()
    )


def test_a_reply_to_another_prompt_is_asked_for_again_and_named(endpoint, other_endpoint, config, run_evalkit):
    """Every question's last option is answered as that of another question: once, or always."""
    seen = set()

    def mixed(body):
        prompt = body["prompt"]
        stray = prompt.endswith(" D") and (prompt not in seen or "anatomy" in prompt)
        seen.add(prompt)
        return vllm_completion({**body, "prompt": prompt[:99] + prompt[100:]} if stray else body)

    endpoint.complete, other_endpoint.complete = vllm_completion, mixed
    sides = config("ref", endpoint.url, [SUITE]), config("cand", other_endpoint.url, [SUITE], limits={"retries": 1})
    told = " ".join(run_evalkit("compare", *sides, "--quiet").stdout.split())
    assert "40 of 60 have a score (failed 20 (malformed 20)): the prompt that the reply echoes is not the one" in told


def test_a_small_numerical_change_shows_in_the_option_logprobs_before_any_answer_changes(
    endpoint, other_endpoint, config, run_evalkit
):
    endpoint.complete = vllm_completion
    other_endpoint.complete = lambda body: vllm_completion(body, shift=0.004)
    ref, cand = config("ref", endpoint.url, [SUITE]), config("cand", other_endpoint.url, [SUITE])
    done = run_evalkit("compare", ref, cand, "--json", "--quiet")
    suite, p_gold = json.loads(done.stdout)["suites"]
    assert (p_gold["suite"], p_gold["row_of"], p_gold["margin"]) == ("mmlu_logprob:p_gold", "mmlu_logprob", 0.005)
    rows = {row["name"]: row for row in suite["behaviour"]}
    assert rows["option_distance"]["candidate"] == pytest.approx(0.004)
    assert rows["option_changes"]["candidate"] == 0
    assert rows["option_divergence"]["candidate"] == pytest.approx(0.0, abs=1e-9)
    assert suite["verdict"] == "EQUIVALENT"


def test_p_gold_is_a_row_of_every_report_and_has_a_margin_of_its_own(
    endpoint, other_endpoint, config, run_evalkit, tmp_path
):
    """The right option is less likely throughout, and mostly still the likeliest."""

    def lessened(body):
        hint = body["prompt"].rsplit("hint ", 1)[-1][0]
        return vllm_completion(body, shift=-1.0 if body["prompt"].endswith(hint) else 0.0)

    endpoint.complete, other_endpoint.complete = vllm_completion, lessened
    sides = config("ref", endpoint.url, [SUITE]), config("cand", other_endpoint.url, [SUITE])
    done = run_evalkit(
        "compare", *sides, "--margin", "mmlu_logprob:p_gold=0.25", "--junit", tmp_path / "junit.xml", "--quiet"
    )
    assert done.returncode == 1, done.stderr
    assert "▼ MMLU (log-likelihood, 5-shot) p(gold)" in done.stdout
    assert "±0.25" in done.stdout
    assert 'name="mmlu_logprob:p_gold"' in (tmp_path / "junit.xml").read_text()
    unknown = run_evalkit("compare", *sides, "--margin", "aime24:p_gold=1", "--quiet")
    assert (unknown.returncode, "aime24:p_gold" in unknown.stderr) == (2, True)


def test_stored_log_probabilities_are_held_against_the_server_that_answers_now(
    endpoint, other_endpoint, config, run_evalkit
):
    endpoint.complete = other_endpoint.complete = vllm_completion
    ref, cand = config("ref", endpoint.url, [SUITE]), config("cand", other_endpoint.url, [SUITE])
    assert run_evalkit("compare", ref, cand).returncode == 0
    other_endpoint.complete = lambda body: vllm_completion(body, shift=0.1)
    same = run_evalkit("compare", ref, cand)
    assert same.returncode == 0, same.stderr
    assert "of the stored answers of cand, 12 were asked for again" in same.stderr
    other_endpoint.complete = lambda body: vllm_completion(body, shift=-1.5)
    other = run_evalkit("compare", ref, cand)
    assert other.returncode == 2
    assert "12 log-probabilities lie 1.50 nats from the stored ones on the mean" in " ".join(other.stderr.split())
