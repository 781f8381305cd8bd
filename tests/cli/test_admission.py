"""Before the suites are asked: the quick check of both endpoints, and the probe where it is wanted."""

import json
import re
from xml.etree import ElementTree as ET

import pytest
from reasons import told_in
from toy import Model

from evalkit import admission
from evalkit.options import ProbeOptions
from evalkit.render.document import from_json
from evalkit.run import manifest

CHECKED = {"EVALKIT_NO_DOCTOR": "0"}
SUITE = {"name": "aime24", "partial_data": True, "sampling": {"max_tokens": 32}}


@pytest.fixture
def files(tmp_path, invented):
    """Writes an endpoint's YAML for a toy server with a suite of 30 items."""

    def write(name, server, **more):
        path = tmp_path / f"{name}.yaml"
        fixed = {"name": name, "base_url": server.url, "model": "toy", "runs": str(tmp_path / "runs")}
        path.write_text(json.dumps({**fixed, "suites": [SUITE], "data": str(invented), **more}))
        return path

    return write


def suite_requests(server):
    return [body for body in server.asked("/v1/chat/completions") if body["max_tokens"] == 32]


def test_two_good_endpoints_are_looked_at_and_asked(toy, files, run_evalkit):
    one, other = toy("vllm"), toy("vllm")
    pair = files("ref", one), files("cand", other)
    done = run_evalkit("compare", *pair, env=CHECKED)
    assert (len(suite_requests(one)), len(suite_requests(other))) == (30, 30), done.stderr
    assert len(one.requests) == 32
    again = run_evalkit("compare", *pair, "--stored", env=CHECKED)
    assert len(one.requests) == 32, "nothing is left to ask, so nothing is looked at"
    assert again.returncode == done.returncode


def test_a_problem_ends_it_before_anything_is_asked(toy, files, run_evalkit):
    one, other = toy("vllm"), toy("vllm", faults={"leaks_template"})
    pair = files("ref", one), files("cand", other)
    done = run_evalkit("compare", *pair, env=CHECKED)
    assert done.returncode == 3
    told = " ".join(done.stdout.split())
    assert "INVALID: cand: template: a template mark is left in the answer" in told
    assert "--no-doctor goes on all the same" in told
    assert not suite_requests(other)
    run_evalkit("compare", *pair, "--no-doctor", env=CHECKED)
    assert len(suite_requests(other)) == 30


def test_two_prompts_for_one_question_end_it_too(toy, files, run_evalkit):
    pair = files("ref", toy("vllm")), files("cand", toy("vllm", model=Model(template="greeting")))
    done = run_evalkit("compare", *pair, env=CHECKED)
    assert done.returncode == 3
    assert "the same messages reach the two models as prompts of other lengths" in " ".join(done.stdout.split())


def test_a_warning_is_said_and_the_run_goes_on(toy, files, run_evalkit):
    one = toy("vllm", faults={"no_usage"})
    done = run_evalkit("compare", files("ref", one), files("cand", toy("vllm")), env=CHECKED)
    assert "ref: usage: replies do not say how many tokens they have" in done.stderr
    assert len(suite_requests(one)) == 30


def test_a_problem_found_before_is_in_every_file_that_ci_reads(toy, files, run_evalkit, tmp_path):
    pair = files("ref", toy("vllm")), files("cand", toy("vllm", faults={"leaks_template"}))
    done = run_evalkit("compare", *pair, "--junit", tmp_path / "junit.xml", "--json", env=CHECKED)
    told = json.loads(done.stdout)
    assert (done.returncode, told["verdict"], told["exit_code"], told["suites"]) == (3, "INVALID", 3, [])
    assert told_in(told["reasons"])[0].startswith("cand: template: a template mark is left in the answer")
    case = ET.parse(tmp_path / "junit.xml").find(".//testcase/error")
    assert case.get("message") == told_in(told["reasons"])[0]
    home = tmp_path / "runs" / "ref--cand"
    assert from_json((home / "comparison.json").read_bytes()).verdict.value == "INVALID"
    assert run_evalkit("history", "add", home).returncode == 0
    shown = run_evalkit("history", "--gate", "strict", "--runs", tmp_path / "runs", "--html", tmp_path / "h.html")
    assert shown.returncode == 3
    assert "is INVALID without its suites: cand: template: a template mark is left" in " ".join(shown.stdout.split())
    assert "is INVALID without its suites: cand: template" in (tmp_path / "h.html").read_text()
    assert "the suites were not asked: cand: template" in run_evalkit("flips", home).stdout
    assert run_evalkit("report", home, "--format", "html", "--out", tmp_path / "r.html").returncode == 0
    assert "a template mark is left in the answer" in (tmp_path / "r.html").read_text()


def test_a_candidate_that_fails_the_probe_is_not_asked(toy, files, run_evalkit, tmp_path):
    one, other = toy("vllm"), toy("vllm", model=Model(noise=0.5))
    pair = files("ref", one), files("cand", other)
    done = run_evalkit("compare", *pair, "--probe", "--no-doctor", "--junit", tmp_path / "junit.xml")
    assert done.returncode == 1, done.stderr
    printed = " ".join(done.stdout.split())
    assert "Fidelity probe: DEGRADED; " in printed
    assert "DEGRADED: the suites are not asked, because the fidelity probe shows that the candidate differs" in printed
    assert "(--no-probe asks them all the same); reference's texts: " in printed
    assert not suite_requests(one)
    assert not suite_requests(other)
    home = tmp_path / "runs" / "ref--cand"
    assert json.loads((home / "probe.json").read_bytes())["verdict"] == "DEGRADED"
    case = ET.parse(tmp_path / "junit.xml").find(".//testcase")
    assert case.get("name") == "fidelity probe"
    assert case.find("failure").get("type") == "DEGRADED"
    assert "probe shows that the candidate differs" in run_evalkit("explain", home).stdout
    document = json.loads((home / "comparison.json").read_bytes())
    assert (document["exit_code"], document["verdict"], document["probe"]["verdict"]) == (1, "DEGRADED", "DEGRADED")
    assert document["probe"]["texts"] == 64
    assert {one["key"] for one in document["differences"]} == {"base_url", "name"}


@pytest.fixture
def much(monkeypatch, invoke):
    """Runs `compare` where 30 short answers are much to ask, and nobody said whether the probe is wanted."""
    monkeypatch.setattr(admission, "WORTH_TOKENS", 30 * 32)
    monkeypatch.setattr(admission, "DEFAULTS", ProbeOptions(prompts=16, tokens=40))
    monkeypatch.setenv("EVALKIT_NO_DOCTOR", "1")
    monkeypatch.setenv("EVALKIT_PROBE", "")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return lambda *arguments: invoke("compare", *arguments)


def test_the_probe_comes_by_itself_where_much_is_to_be_asked(toy, files, much, tmp_path):
    one, other = toy("vllm"), toy("vllm", model=Model(noise=0.5))
    pair = files("ref", one), files("cand", other)
    stopped = much(*pair)
    assert stopped.code == 1, stopped.err
    assert "the suites are not asked" in " ".join(stopped.out.split())
    other.model = Model()
    passed = much(*pair)
    assert "Fidelity probe: EQUIVALENT; " in passed.out, passed.err
    assert len(suite_requests(one)) == 30
    asked = len(one.requests)
    again = much(*pair, "--stored", "--json")
    assert len(one.requests) == asked, "what it found is kept with the runs"
    assert json.loads(again.out)["probe"]["verdict"] == "EQUIVALENT"
    assert json.loads(much(*pair, "--json", "--no-probe").out)["probe"] is None
    (tmp_path / "runs" / "ref--cand" / "probe.json").write_bytes(b'{"plans": 7')
    assert json.loads(much(*pair, "--json").out)["probe"] is None


def test_the_probe_does_not_come_by_itself_for_little_or_when_told_not_to(toy, files, much, monkeypatch):
    one, other = toy("vllm"), toy("vllm")
    pair = files("ref", one), files("cand", other)
    much(*pair, "--limit", "29")
    assert not one.asked("/v1/completions")
    monkeypatch.setenv("EVALKIT_PROBE", "0")
    monkeypatch.setattr(admission, "WORTH_TOKENS", 1)
    much(*pair, "--stored")
    assert not one.asked("/v1/completions")
    assert len(suite_requests(one)) == 30


def test_a_slow_probe_is_only_said_where_nobody_asked_for_it(toy, files, much):
    done = much(files("ref", toy("llama.cpp")), files("cand", toy("llama.cpp")))
    assert "takes a request for each token there" in done.err
    assert "--probe asks so" in done.err
    assert "Fidelity probe" not in done.out
    assert "AIME 2024" in done.out, "the suites are asked all the same"


def test_an_unsupported_or_failing_probe_is_only_said_where_nobody_asked_for_it(toy, files, much):
    done = much(files("ref", toy("transformers")), files("cand", toy("transformers")))
    assert "not supported by" in done.err
    assert "AIME 2024" in done.out, "the suites are asked all the same"
    one = toy("vllm", faults={"short_only"})
    done = much(files("third", one), files("fourth", toy("vllm")))
    assert "the fidelity probe came to nothing: " in done.err
    assert len(suite_requests(one)) == 30


def test_a_candidate_that_passes_the_probe_is_asked(toy, files, run_evalkit):
    one, other = toy("vllm"), toy("vllm")
    done = run_evalkit("compare", files("ref", one), files("cand", other), "--probe", "--no-doctor")
    assert "probe: asking both endpoints 64 built-in prompts first" in done.stderr
    assert re.search(r"probe: EQUIVALENT after \d+ s; stored in", done.stderr)
    assert len(suite_requests(other)) == 30
    asked = len(one.requests)
    run_evalkit("compare", files("ref", one), files("cand", other), "--probe", "--no-doctor", "--stored")
    assert len(one.requests) == asked, "nothing is left to ask, so nothing is probed"


def test_a_difference_between_the_margin_and_what_stops_is_said_and_the_suites_decide(
    toy, files, run_evalkit, tmp_path
):
    other = toy("vllm", model=Model(noise=0.107))
    pair = files("ref", toy("vllm")), files("cand", other)
    done = run_evalkit("compare", *pair, "--probe", "--no-doctor", "--json")
    told = json.loads(done.stdout)
    stored = json.loads((tmp_path / "runs" / "ref--cand" / "probe.json").read_bytes())
    assert (stored["verdict"], stored["stops"], told["probe"]["verdict"]) == ("DEGRADED", False, "INCONCLUSIVE")
    assert told_in(told["probe"]["reasons"])[-1] == ("a difference of this size stops no comparison: the suites decide")
    assert len(suite_requests(other)) == 30
    again = run_evalkit("compare", *pair, "--probe", "--no-doctor", "--json", "--stored")
    assert json.loads(again.stdout)["probe"] == told["probe"], "kept with the runs"


def test_a_server_that_cannot_be_probed_is_no_reason_to_stop(toy, files, run_evalkit):
    other = toy("transformers")
    done = run_evalkit("compare", files("ref", toy("vllm")), files("cand", other), "--probe", "--no-doctor")
    assert "not supported by" in done.stderr
    assert "going on with the suites" in done.stderr
    assert len(suite_requests(other)) == 30


def test_a_candidate_that_refuses_costs_nothing_at_the_reference(toy, files, run_evalkit, tmp_path):
    one, other = toy("vllm"), toy("vllm")
    pair = files("ref", one), files("cand", other)
    other.close()
    done = run_evalkit("compare", *pair, "--set", "limits.outage_seconds=1", env=CHECKED)
    assert done.returncode == 3, done.stderr
    assert not suite_requests(one)
    assert "ref: nothing was asked, because cand cannot be asked" in done.stderr


def test_a_problem_of_the_pair_costs_nothing_at_either(toy, files, run_evalkit):
    one, other = toy("vllm"), toy("vllm", faults={"leaks_template"})
    run_evalkit("compare", files("ref", one), files("cand", other), env=CHECKED)
    assert not suite_requests(one)
    assert not suite_requests(other)


def test_stored_answers_of_another_address_are_said(toy, files, run_evalkit, tmp_path):
    one, other, elsewhere = toy("vllm"), toy("vllm"), toy("vllm")
    ref = files("ref", one)
    run_evalkit("compare", ref, files("cand", other), "--no-doctor")
    checked = run_evalkit("compare", ref, files("cand", elsewhere), "--no-doctor")
    assert len(elsewhere.requests) == 24
    assert "of the stored answers of cand, 12 were asked for again" in checked.stderr
    done = run_evalkit("compare", ref, files("cand", elsewhere), "--no-doctor", "--stored")
    assert len(elsewhere.requests) == 24
    said = f"cand: 30 stored answers came from {other.url}; nothing was asked of {elsewhere.url}"
    assert said in done.stderr
    last = manifest.latest(tmp_path / "runs" / "cand")
    assert last.config["base_url"] == other.url, "the address that answered is what is kept"


def test_a_run_that_goes_on_elsewhere_says_so(toy, files, run_evalkit):
    one, elsewhere = toy("vllm"), toy("vllm")
    run_evalkit("run", files("ref", one), "--limit", "10")
    done = run_evalkit("run", files("ref", elsewhere), "--stored")
    assert f"ref: 10 stored answers came from {one.url}; only the rest is asked of {elsewhere.url}" in done.stderr
    assert len(suite_requests(elsewhere)) == 20


def test_a_run_without_its_manifest_is_written_anew(toy, files, run_evalkit, tmp_path):
    one = toy("vllm")
    ref = files("ref", one)
    run_evalkit("run", ref)
    (tmp_path / "runs" / "ref" / "manifest.jsonl").write_bytes(b"")
    done = run_evalkit("run", ref)
    assert done.returncode == 0, done.stderr
    assert len(suite_requests(one)) == 30, "the journal is the truth: nothing is asked again"
