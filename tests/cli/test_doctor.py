"""`evalkit doctor` as a user runs it: words, exit codes, JSON, two files, data sets and disk."""

import json

import pytest
from toy import Model

from evalkit.cli.doctor import wrapped

SETTLED = {"temperature": 0.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}


@pytest.fixture
def files(tmp_path):
    """Writes an endpoint's YAML for a toy server."""

    def write(name, server, **more):
        path = tmp_path / f"{name}.yaml"
        fixed = {"name": name, "base_url": server.url, "model": "toy", "runs": str(tmp_path / "runs")}
        path.write_text(json.dumps({**fixed, "sampling": SETTLED, **more}))
        return path

    return write


def test_a_good_endpoint_ends_with_0(toy, files, run_evalkit):
    done = run_evalkit("doctor", files("ref", toy("vllm")))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "vLLM 0.24.0" in done.stdout
    assert "0 problems, 0 warnings, 1 note" in done.stdout
    assert "why:" in done.stdout or "takes no pictures" in done.stdout


def test_problems_end_with_3_and_say_why_and_how(toy, files, run_evalkit):
    done = run_evalkit("doctor", files("ref", toy("vllm", faults={"leaks_template"})), "--quiet")
    assert done.returncode == 3
    assert "problem  template" in done.stdout
    assert "why: the model does not stop where it should" in done.stdout
    assert "fix: serve with the model's own chat template" in done.stdout
    assert "  ok " not in done.stdout


def test_an_endpoint_that_is_down_ends_with_3(toy, files, run_evalkit):
    server = toy("vllm")
    path = files("ref", server)
    server.close()
    done = run_evalkit("doctor", path)
    assert done.returncode == 3
    assert "connection refused at" in done.stdout


def test_two_files_and_json(toy, files, run_evalkit):
    pair = files("ref", toy("vllm")), files("cand", toy("llama.cpp", model=Model(template="greeting")), build="x 1")
    done = run_evalkit("doctor", *pair, "--json")
    assert done.returncode == 3, done.stderr
    told = json.loads(done.stdout)
    assert [report["name"] for report in told["endpoints"]] == ["ref", "cand"]
    assert told["exit_code"] == 3
    assert {one["check"] for one in told["between"]} >= {"template", "owned_by", "prompt_logprobs"}
    assert {one["key"] for one in told["differences"]} >= {"build", "base_url"}
    shown = run_evalkit("doctor", *pair)
    assert "between the two" in shown.stdout
    assert "prompts of other lengths" in shown.stdout
    assert "build: (not set) | x 1" in shown.stdout


def test_the_same_server_twice_is_a_problem(toy, files, run_evalkit):
    server = toy("vllm")
    done = run_evalkit("doctor", files("ref", server), files("cand", server))
    assert done.returncode == 3
    assert "both sides have the address" in done.stdout


def test_suites_decide_room_and_data(toy, files, run_evalkit, invented, tmp_path):
    suites = [{"name": "aime24", "partial_data": True}, {"name": "musr", "partial_data": True}]
    here = files("ref", toy("vllm"), suites=suites, data=str(invented))
    done = run_evalkit("doctor", here)
    assert done.returncode == 3, "aime24 asks for 38,912 tokens of a context of 4,096"
    assert "aime24: answers may have" in done.stdout
    assert "the data of 2 suites is here" in done.stdout
    assert "GB free in" in done.stdout
    (tmp_path / "empty").mkdir()
    away = files("cand", toy("vllm"), suites=["gpqa_diamond"], data=str(tmp_path / "empty"))
    missing = run_evalkit("doctor", away)
    assert missing.returncode == 0, missing.stdout
    assert "warning  data            gpqa_diamond:" in missing.stdout
    skipped = run_evalkit("doctor", away, "--no-data")
    assert "gpqa_diamond" not in skipped.stdout


def test_the_configuration_is_part_of_it(toy, files, run_evalkit):
    path = files("ref", toy("vllm"), tls={"verify": False})
    done = run_evalkit("doctor", path)
    assert "the server's certificate is not checked" in done.stdout


def test_a_long_finding_is_wrapped_below_its_beginning_on_a_terminal_alone():
    text = "sampling parameters are ignored, or those of an earlier request stay"
    assert wrapped(text, 10, None) == text
    first, second = wrapped(text, 10, 60).splitlines()
    assert len(first) <= 50
    assert second.startswith(" " * 10) and len(second) <= 60
    assert f"{first} {second.strip()}" == text
