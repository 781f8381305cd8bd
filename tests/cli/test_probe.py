"""`evalkit probe` as a user runs it: verdict, table, stored files, prompts of suites, and servers that cannot."""

import json

import pytest
from reasons import told_in
from toy import Model

SMALL = ("--prompts", "14", "--tokens", "30", "--greedy", "3")


def test_a_faithful_candidate_passes_and_everything_is_stored(toy, files, run_evalkit, tmp_path):
    reference, candidate = files("ref", toy("vllm")), files("cand", toy("llama.cpp"))
    done = run_evalkit("probe", reference, candidate, *SMALL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "EQUIVALENT: shown to give the same tokens the same probabilities" in done.stdout
    assert "greedy texts: 3 of 3 identical" in done.stdout
    assert "asking both endpoints 14 built-in prompts" in done.stderr
    home = tmp_path / "runs" / "ref--cand"
    stored = json.loads((home / "probe.json").read_bytes())
    assert stored["verdict"] == "EQUIVALENT"
    assert stored["asked"]["ref"]["method"] == "prompt_logprobs of /v1/completions"
    assert stored["asked"]["cand"]["method"] == "logit_bias on llama.cpp's /completion"
    assert len((home / "probe_tokens.jsonl").read_bytes().splitlines()) == 14


def test_a_broken_candidate_fails_with_the_reason(toy, files, run_evalkit, tmp_path):
    pair = files("ref", toy("vllm")), files("cand", toy("vllm", model=Model(noise=0.4)))
    done = run_evalkit("probe", *pair, *SMALL, "--json", "--out", tmp_path / "elsewhere")
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    assert (told["verdict"], told["exit_code"]) == ("DEGRADED", 1)
    assert "outside the margin of 0.004" in " ".join(told_in(told["reasons"]))
    assert (tmp_path / "elsewhere" / "probe.json").exists()
    shown = run_evalkit("probe", *pair, *SMALL)
    assert shown.returncode == 1
    assert "the others part at token" in shown.stdout


def test_how_few_texts_would_have_done_is_said_and_stored(toy, files, run_evalkit, tmp_path):
    pair = files("ref", toy("vllm")), files("cand", toy("vllm", model=Model(noise=0.4)))
    done = run_evalkit("probe", *pair, *SMALL, "--enough")
    stored = json.loads((tmp_path / "runs" / "ref--cand" / "probe.json").read_bytes())["enough"]
    assert 8 <= stored["texts"] <= 14
    assert stored["tokens"] >= 200
    assert f"the first {stored['texts']} texts ({stored['tokens']} tokens) give this verdict" in done.stdout


def test_prompts_come_from_the_suites(toy, files, run_evalkit, invented):
    server = toy("vllm")
    suites = [{"name": name, "partial_data": True} for name in ("aime24", "musr")]
    more = {"suites": suites, "data": str(invented)}
    done = run_evalkit("probe", files("ref", server, **more), files("cand", toy("vllm"), **more), *SMALL)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "asking both endpoints 14 prompts of the suites" in done.stderr
    texts = {body["messages"][-1]["content"] for body in server.asked("/v1/chat/completions")}
    assert any("hint" in text and "boxed" in text for text in texts)
    assert any("Story" in text for text in texts)


def test_without_data_the_built_in_prompts_stand_in(toy, files, run_evalkit, tmp_path):
    more = {"suites": ["aime24"], "data": str(tmp_path / "nothing")}
    done = run_evalkit("probe", files("ref", toy("vllm"), **more), files("cand", toy("vllm"), **more), *SMALL)
    assert done.returncode == 0, done.stderr
    assert "the built-in prompts stand in for the suites'" in done.stderr


def test_a_server_that_cannot_is_said_not_to_be_supported(toy, files, run_evalkit):
    pair = files("ref", toy("vllm")), files("cand", toy("transformers"))
    done = run_evalkit("probe", *pair, *SMALL)
    assert done.returncode == 3
    assert "cand: the fidelity probe is not supported by" in done.stderr
    told = run_evalkit("probe", *pair, *SMALL, "--json")
    assert told.returncode == 3
    document = json.loads(told.stdout)
    assert (document["supported"], document["verdict"]) == (False, "INVALID")


def test_a_careless_server_is_run_though_its_list_of_models_is_not_to_be_believed(toy, files, run_evalkit, invented):
    suites = [{"name": "aime24", "partial_data": True, "sampling": {"max_tokens": 32}}]
    careless = {"suites": suites, "data": str(invented)}
    server = toy("transformers", faults={"no_list", "reject_unknown"})
    done = run_evalkit("run", files("broken", server, **careless), "--limit", "3")
    assert (done.returncode, len(server.requests)) == (0, 4), done.stderr
    other = toy("transformers")
    other.pages["/v1/models"] = b'{"data": [{"id": "org/cached"}]}'
    done = run_evalkit("run", files("listed", other, **careless), "--limit", "3")
    assert (done.returncode, len(other.requests)) == (0, 5), done.stderr
    anything = toy("vllm")
    done = run_evalkit("run", files("anything", anything, **careless, model="absent"), "--limit", "3")
    assert done.returncode == 2
    assert "'absent' is not served at" in done.stderr


def test_fields_that_decide_the_prompt_are_sent(toy, files, run_evalkit):
    server = toy("vllm")
    sampling = {"chat_template_kwargs": {"enable_thinking": False}, "extra_body": {"documents": []}}
    run_evalkit("probe", files("ref", server, sampling=sampling), files("cand", toy("vllm")), *SMALL)
    for body in server.asked("/v1/chat/completions"):
        assert body["chat_template_kwargs"] == {"enable_thinking": False}
        assert body["documents"] == []


def test_more_prompts_after_a_look_are_another_look_which_the_first_one_bounds(toy, files, run_evalkit, tmp_path):
    pair = files("ref", toy("vllm")), files("cand", toy("vllm"))
    stored = tmp_path / "runs" / "ref--cand" / "probe.json"

    def looks(*options):
        done = run_evalkit("probe", *pair, "--tokens", "30", "--greedy", "0", *options)
        return done, json.loads(stored.read_bytes())["looks"]

    assert looks("--prompts", "8")[1] == [240]
    assert looks("--prompts", "9")[1] == [240, 270]
    assert looks("--prompts", "8")[1] == [240, 270], "asking less again is no look"
    before = len(stored.read_bytes())
    refused, _ = looks("--prompts", "65", "--neutral")
    assert refused.returncode == 0, "only 64 prompts are built in: 1,920 tokens are eight times 240"
    refused, _ = looks("--prompts", "64", "--tokens", "31")
    assert refused.returncode == 2
    said = "the first look at this probe asked 240 tokens, which allows 1,920 in all, not 1,984: ask for less, or name"
    assert said in " ".join(refused.stderr.split())
    assert len(stored.read_bytes()) > before
    assert looks("--prompts", "10", "--seed", "1")[1] == [300], "other texts are another probe"


def test_the_reference_served_a_second_way_counts_as_its_noise(toy, files, run_evalkit, tmp_path):
    one = toy("vllm")
    pair = files("ref", one), files("cand", toy("vllm"))
    wrong = tmp_path / "second.yaml"
    wrong.write_text("name: second\nmodle: toy\n")
    assert run_evalkit("probe", *pair, *SMALL, "--noise", wrong).returncode == 2
    assert one.requests == [], "before anything is asked"
    second = toy("vllm", model=Model(noise=0.06))
    done = run_evalkit("probe", *pair, *SMALL, "--noise", files("second", second))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "reference otherwise" in done.stdout
    stored = json.loads((tmp_path / "runs" / "ref--cand" / "probe.json").read_bytes())
    assert stored["margins_nats"]["k3"] == max(0.004, 3 * stored["noise"]["reference otherwise"]["k3"]["point"])


def test_texts_are_drawn_as_the_configured_suites_draw(toy, files, run_evalkit, invented):
    one, other = toy("vllm"), toy("vllm")
    asked = other.sampling
    other.sampling = lambda body: asked(body) | ({"temperature": 1.0} if body.get("temperature") else {})
    suites = [{"name": "aime24", "partial_data": True, "sampling": {"temperature": 0.3, "top_p": 1.0}}]
    more = {"suites": suites, "data": str(invented)}
    done = run_evalkit("probe", files("ref", one, **more), files("cand", other, **more), *SMALL, "--prompts", "30")
    assert sum(body["temperature"] == 0.3 for body in one.asked("/v1/completions")) == 30
    assert done.returncode == 1, done.stdout
    assert "texts drawn as the suites draw: texts are drawn otherwise" in " ".join(done.stdout.split())


def test_a_sweep_prints_a_map_and_stores_it(toy, files, run_evalkit, tmp_path):
    pair = files("ref", toy("vllm")), files("cand", toy("vllm", model=Model(noise=0.01)))
    done = run_evalkit("probe", *pair, "--regime", "decode", "--regime", "preemption", "--seed", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line.split(",")[0] for line in lines[:3]] == [
        f"EQUIVALENT: {name}" for name in ("plain", "decode against prefill", "prompt length")
    ]
    assert any("the server does not tell how many tokens its KV cache holds" in line for line in lines)
    assert any(line.startswith("ref: ") and "tokens read" in line for line in lines)
    assert lines[-1].startswith("EQUIVALENT in ")
    stored = json.loads((tmp_path / "runs" / "ref--cand" / "sweep.json").read_bytes())
    assert (stored["kind"], stored["verdict"], stored["seed"]) == ("fidelity sweep", "EQUIVALENT", 3)
    assert [place["regime"] for place in stored["places"]] == ["plain", "decode", "prompt", "batch", "preemption"]


def test_a_sweep_of_a_broken_candidate_ends_with_the_plainest_regime(toy, files, run_evalkit, tmp_path):
    pair = files("ref", toy("vllm")), files("cand", toy("vllm", model=Model(noise=0.6)))
    done = run_evalkit("probe", *pair, "--sweep", "--json", "--out", tmp_path / "elsewhere")
    assert done.returncode == 1, done.stderr
    told = json.loads(done.stdout)
    assert [(place["regime"], place["verdict"]) for place in told["places"]][:1] == [("plain", "DEGRADED")]
    assert {place["regime"] for place in told["places"]} == {"plain", "decode"}, "all others would differ as well"
    assert told["places"][0]["where"] == "from the smallest size on (64 tokens)"
    assert (tmp_path / "elsewhere" / "sweep.json").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--regime", "hits"), "there is no regime 'hits': there are plain, decode, prompt, batch, hit, chunk, answer"),
        (("--sweep", "--prompts", "9"), "--prompts: has no effect on a sweep"),
        (("--sweep", "--enough"), "--enough: has no effect on a sweep"),
    ],
)
def test_mistakes_about_a_sweep_are_said_before_anything_is_asked(toy, files, run_evalkit, more, words):
    server = toy("vllm")
    done = run_evalkit("probe", files("ref", server), files("cand", toy("vllm")), *more)
    assert (done.returncode, server.requests) == (2, [])
    assert words in " ".join(done.stderr.split())


def test_a_sweep_needs_both_endpoints_at_once(toy, files, run_evalkit):
    launch = {"launch": {"kind": "command", "argv": ["true", "{port}"], "sequential": True}}
    done = run_evalkit(
        "probe", files("ref", toy("vllm")), files("cand", toy("vllm"), base_url=None, **launch), "--sweep"
    )
    assert done.returncode == 2
    assert "launch.sequential" in done.stderr
