"""Two processes and one run folder: none reads what the other asked, and none is let in too early."""

import json
import subprocess
import sys
import threading
from contextlib import contextmanager

import commands
import pytest

from evalkit.run import manifest

MANY = {"name": "mmlu_gen_5shot", "partial_data": True, "margin_pt": 10}


@pytest.fixture
def held_back(other_endpoint):
    """The second endpoint answers nothing before `go` is set; `asked` says that it has been asked."""
    answer, other_endpoint.asked, other_endpoint.go = other_endpoint.answer, threading.Event(), threading.Event()

    def wait(messages):
        other_endpoint.asked.set()
        other_endpoint.go.wait(120)
        return answer(messages)

    other_endpoint.answer = wait
    yield other_endpoint
    other_endpoint.go.set()


@contextmanager
def begun(*arguments):
    """A command in a process of its own, while it runs."""
    argv = [sys.executable, "-m", "evalkit", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL, "text": True}
    process = subprocess.Popen(argv, env=commands.surroundings(), **pipes)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_side_that_is_done_stays_locked_until_the_other_is_and_both_are_read(
    endpoint, held_back, config, run_process, tmp_path
):
    all_answered = threading.Event()
    endpoint.spoil = lambda _body, number: all_answered.set() if number == 60 else None
    ref, cand = config("ref", endpoint.url, [MANY]), config("cand", held_back.url, [MANY])
    with begun("compare", ref, cand, "--json") as first:
        assert all_answered.wait(120)
        assert held_back.asked.wait(120)
        second = run_process("run", ref, "--limit", 5, "--quiet")
        assert second.returncode == 2
        assert f"is in use by process {first.pid} on" in second.stderr
        held_back.go.set()
        out, err = first.communicate(timeout=120)
    assert first.returncode == 0, err
    assert json.loads(out)["suites"][0]["n_items"] == 60
    assert run_process("run", ref, "--limit", 5, "--quiet").returncode == 0, "nobody has the folder any more"


def test_a_comparison_reads_the_plans_that_it_was_made_of(endpoint, held_back, config, run_process, tmp_path):
    ref, cand = config("ref", endpoint.url, [MANY]), config("cand", held_back.url, [MANY])
    assert run_process("run", ref, "--quiet").returncode == 0
    with begun("compare", tmp_path / "runs" / "ref", cand, "--json") as first:
        assert held_back.asked.wait(120)
        smaller = run_process("run", ref, "--limit", 5, "--quiet")
        assert smaller.returncode == 0, smaller.stderr
        assert manifest.latest(tmp_path / "runs" / "ref").suites[0].items < 60
        held_back.go.set()
        out, err = first.communicate(timeout=120)
    assert first.returncode == 0, err
    document = json.loads(out)
    assert document["suites"][0]["n_items"] == 60
    assert document["reference"]["run_id"] != document["candidate"]["run_id"]
