"""The main job as a user runs it: run, resume, compare, and every mistake with its one sentence and exit code."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from evalkit.run import items, journal, manifest
from evalkit.run.records import MAGIC

MANY = {"name": "mmlu_gen_5shot", "partial_data": True, "margin_pt": 10}


def test_two_equal_endpoints_are_equivalent_and_a_comparison_of_stored_answers_asks_nothing(
    endpoint, other_endpoint, config, run_evalkit, tmp_path
):
    ref, cand = config("ref", endpoint.url, [MANY]), config("cand", other_endpoint.url, [MANY])
    first = run_evalkit("compare", ref, cand)
    assert first.returncode == 0, first.stdout + first.stderr
    assert "EQUIVALENT" in first.stdout
    assert "base_url" in first.stderr, "what differs between the files is said at the start"
    asked = len(endpoint.requests), len(other_endpoint.requests)
    assert asked == (60, 60)
    second = run_evalkit("compare", ref, cand, "--stored", "--json")
    assert second.returncode == 0
    assert (len(endpoint.requests), len(other_endpoint.requests)) == asked
    document = json.loads(second.stdout)
    assert document["verdict"] == "EQUIVALENT"
    assert document["exit_code"] == 0
    folders = run_evalkit("compare", tmp_path / "runs" / "ref", tmp_path / "runs" / "cand")
    assert folders.returncode == 0, folders.stderr
    assert "EQUIVALENT" in folders.stdout


def test_both_sides_get_the_same_prompts_parameters_and_seeds(endpoint, other_endpoint, config, run_evalkit):
    suites = [{"name": "aime24", "repeats": 3, "partial_data": True}]
    sampling = {"temperature": 0.7, "top_p": 0.9, "top_k": 20, "seed": 11}
    for server, name in ((endpoint, "ref"), (other_endpoint, "cand")):
        done = run_evalkit("run", config(name, server.url, suites, sampling=sampling), "--quiet")
        assert done.returncode == 0, done.stderr
    left, right = (
        sorted(json.dumps(body, sort_keys=True) for body in server.requests) for server in (endpoint, other_endpoint)
    )
    assert left == right
    bodies = endpoint.requests
    assert len({body["seed"] for body in bodies}) == len(bodies) == 90
    wanted = {"temperature": 0.7, "top_p": 0.9, "top_k": 20, "presence_penalty": 0, "frequency_penalty": 0}
    assert all(wanted.items() <= body.items() and body["max_tokens"] == 38912 for body in bodies)


def test_a_degraded_candidate_ends_with_1(endpoint, other_endpoint, config, run_evalkit):
    good = other_endpoint.answer
    other_endpoint.answer = lambda messages: "Answer: A" if hash_of(messages) % 2 else good(messages)
    endpoint.answer = right_answer
    ref, cand = config("ref", endpoint.url, [MANY]), config("cand", other_endpoint.url, [MANY])
    done = run_evalkit("compare", ref, cand)
    assert done.returncode == 1, done.stdout
    assert "DEGRADED" in done.stdout


def hash_of(messages):
    import hashlib

    return int(hashlib.sha256(messages[-1]["content"].encode()).hexdigest(), 16)


def right_answer(messages):
    import re

    text = messages[-1]["content"]
    return "Answer: A" if hash_of(messages) % 10 == 0 else f"Answer: {re.search(r'hint (.)', text).group(1)}"


def test_another_sampling_makes_other_keys_and_the_comparison_names_them(endpoint, other_endpoint, config, run_evalkit):
    ref = config("ref", endpoint.url, [MANY])
    cand = config("cand", other_endpoint.url, [MANY], sampling={"top_p": 0.5})
    refused = run_evalkit("compare", ref, cand)
    assert refused.returncode == 2
    told = " ".join(refused.stderr.split())
    assert f"{cand}:" in told
    assert "the two sides differ in sampling.top_p: 1.0 against 0.5 (mmlu_gen_5shot)" in told
    assert not endpoint.requests
    done = run_evalkit("compare", ref, cand, "--anyway")
    assert done.returncode == 3
    assert "sampling.top_p" in " ".join(done.stdout.split())
    run_evalkit("run", config("ref", endpoint.url, [MANY], sampling={"top_p": 0.5}), "--quiet")
    assert len(endpoint.requests) == 120, "answers under other sampling are never mixed in"


def test_an_endpoint_that_is_down_is_the_reason_once_and_first_everywhere(endpoint, config, run_evalkit, tmp_path):
    ref, cand = config("ref", endpoint.url, [MANY]), config("cand", "http://127.0.0.1:1/v1", [MANY])
    junit, runs, cause = tmp_path / "junit.xml", tmp_path / "runs", "cand: connection refused at http://"
    assert run_evalkit("run", ref, "--quiet").returncode == 0
    done = run_evalkit("compare", ref, cand, "--junit", junit)
    assert done.returncode == 3
    assert " ".join(done.stdout.split()) == f"✗ INVALID: {cause}127.0.0.1:1/v1/models, 0 of 60 answered"
    assert "connection refused" not in done.stderr
    stored = run_evalkit("compare", runs / "ref", runs / "cand", env={"GITHUB_ACTIONS": "true"})
    (annotation,) = [line for line in stored.stdout.splitlines() if line.startswith("::")]
    assert annotation == f"::error title=evalkit is INVALID::{cause}…/v1/models, 0 of 60 answered"
    home = runs / "ref--cand"
    page = tmp_path / "page.html"
    assert run_evalkit("report", home, "--format", "html", "--out", page).returncode == 0
    assert run_evalkit("history", "add", home).returncode == 0
    for text in (
        run_evalkit("explain", home).stdout,
        run_evalkit("report", home, "--format", "summary").stdout.replace("\\", ""),
        junit.read_text().partition("<error message=")[2].partition("type=")[0],
        page.read_text().partition("<main>")[2].partition("</section>")[0],
        " ".join(run_evalkit("history", "--runs", runs).stdout.split()),
    ):
        assert text.count(cause) == 1


def test_failures_are_counted_and_never_scored_zero(endpoint, config, run_evalkit):
    endpoint.spoil = lambda body, number: (
        (400, {"error": {"message": "bad"}}) if "astronomy test 3?" in str(body["messages"][-1]) else None
    )
    done = run_evalkit("run", config("ref", endpoint.url, [MANY]), "--json", "--quiet")
    assert done.returncode == 3
    (suite,) = json.loads(done.stdout)["suites"]
    assert suite["counts"]["failed"] == 1
    assert suite["failures"] == {"bad_request": 1}
    assert suite["valued"] == 59
    assert suite["mean_if_others_wrong"] == pytest.approx(suite["mean"] * 59 / 60)
    (named,) = suite["without_value"]
    assert named["item"].startswith("astronomy/")
    assert (named["status"], named["failure"]) == ("failed", "bad_request")
    assert "bad" in named["error"]
    words = run_evalkit("run", config("ref", endpoint.url, [MANY]), "--quiet")
    assert words.returncode == 3
    assert "if the 1 without a value were wrong" in words.stdout
    assert f"{named['item']}: failed (bad_request: " in words.stdout


def test_transport_faults_heal(endpoint, config, run_evalkit):
    faults = {
        3: "drop",
        5: (500, {"error": "x"}),
        8: (503, b"<html>"),
        11: (200, b'{"choices": [{'),
        14: (429, {"error": "slow"}),
    }
    endpoint.spoil = lambda body, number: faults.get(number)
    done = run_evalkit("run", config("ref", endpoint.url, [MANY]), "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["suites"][0]["valued"] == 60
    assert len(endpoint.requests) == 65


def test_kill_9_at_half_and_again_repeats_no_more_than_was_in_flight(endpoint, config, tmp_path):
    endpoint.spoil = lambda body, number: time.sleep(0.02)
    path = config("ref", endpoint.url, [MANY], limits={"concurrency": 4})
    command = [sys.executable, "-m", "evalkit", "run", str(path), "--quiet", "--stored"]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    file = tmp_path / "runs" / "ref" / journal.NAME
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (not file.exists() or file.read_bytes().count(MAGIC) < 25):
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    kept = len(journal.index(file.parent).replies)
    before = len(endpoint.requests)
    assert kept >= 25
    again = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert again.returncode == 0, again.stderr
    assert len(endpoint.requests) - before == 60 - kept
    # In flight at the kill: 4 requests; and what came in while the writer was kept from the processor.
    assert before - kept <= 4 + 2 * 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_keeps_what_came_back(endpoint, config, tmp_path, number):
    child = started(endpoint, config, tmp_path, stderr=subprocess.PIPE, text=True)
    child.send_signal(number)
    _out, words = child.communicate(timeout=30)
    assert child.returncode == 130
    assert "what a run was answered is kept" in words
    assert len(journal.index(tmp_path / "runs" / "ref").replies) >= 5


def test_a_terminal_that_is_closed_ends_a_run_as_ctrl_c_does(endpoint, config, tmp_path):
    terminal, theirs = os.openpty()
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    child = started(endpoint, config, tmp_path, **streams, preexec_fn=lambda: os.login_tty(0))
    os.close(theirs)
    os.close(terminal)
    assert child.wait(timeout=30) == 130
    assert len(journal.index(tmp_path / "runs" / "ref").replies) >= 5


def test_nohup_goes_on_without_a_terminal(endpoint, config, tmp_path):
    ignore = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    child = started(endpoint, config, tmp_path, stderr=subprocess.DEVNULL, **ignore)
    child.send_signal(signal.SIGHUP)
    assert child.wait(timeout=60) == 0


def started(endpoint, config, tmp_path, **how):
    """A run that has stored some of its answers, and is not done."""
    endpoint.spoil = lambda body, number: time.sleep(0.05)
    path = config("ref", endpoint.url, [MANY], limits={"concurrency": 2})
    child = subprocess.Popen([sys.executable, "-m", "evalkit", "run", str(path)], **how)
    file = tmp_path / "runs" / "ref" / journal.NAME
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (not file.exists() or file.read_bytes().count(MAGIC) < 5):
        time.sleep(0.01)
    return child


@pytest.fixture
def stored(endpoint, config, run_evalkit, tmp_path):
    """Two finished runs: their configurations, their folders, the comparison of both before anything is damaged."""
    files = [config(name, endpoint.url, [MANY]) for name in ("ref", "cand")]
    folders = [tmp_path / "runs" / name for name in ("ref", "cand")]
    done = run_evalkit("compare", *files, "--json", "--quiet")
    return files, folders, json.loads(done.stdout)["suites"]


@pytest.mark.parametrize("pattern", ["scores-*.parquet", "items-*.parquet"])
@pytest.mark.parametrize("change", [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-9])])
def test_what_is_derived_is_made_again_where_it_is_needed(stored, endpoint, run_evalkit, pattern, change):
    files, folders, suites = stored
    asked = len(endpoint.requests)
    for command in (("compare", *folders, "--json"), ("run", files[0], "--json"), ("score", files[0], "--json")):
        (path,) = folders[0].glob(pattern)
        change(path)
        items.forget()  # as another process would
        done = run_evalkit(*command)
        assert done.returncode in {0, 4}, done.stderr
        if command[0] == "compare":
            assert json.loads(done.stdout)["suites"] == suites
            assert "ref: its scores did not fit what it stored and were made again" in done.stderr
        assert list(folders[0].glob(pattern)) == [path]
    assert json.loads(run_evalkit("compare", *folders, "--json").stdout)["suites"] == suites
    assert len(endpoint.requests) == asked


@pytest.mark.parametrize("key", ["suite_folders", "allow_code_execution"])
def test_a_stored_folder_starts_no_code_of_its_own(stored, run_evalkit, tmp_path, key):
    _files, folders, _suites = stored
    session = manifest.latest(folders[0])
    (tmp_path / "evil").mkdir()
    value = {"suite_folders": [str(tmp_path / "evil")], "allow_code_execution": True}[key]
    manifest.append(folders[0], replace(session, config={**session.config, key: value}))
    next(folders[0].glob("scores-*.parquet")).unlink()
    done = run_evalkit("compare", *folders)
    assert done.returncode == 2
    assert "here it cannot be made: its suites are not evalkit's own, or it runs programs" in done.stderr


def test_a_damaged_answer_is_said_by_every_command_and_asked_again(stored, endpoint, run_evalkit):
    files, folders, suites = stored
    path = folders[0] / journal.NAME
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 8
    path.write_bytes(data)
    done = run_evalkit("score", files[0])
    assert done.returncode == 3
    assert f"{path}: is damaged at byte" in done.stderr
    asked = len(endpoint.requests)
    done = run_evalkit("run", files[0], "--stored")
    assert f"{path}: is damaged at byte" in done.stderr
    assert len(endpoint.requests) == asked + 1
    (suite,) = json.loads(run_evalkit("compare", *folders, "--json").stdout)["suites"]
    assert (suite["verdict"], suite["reference"]["valued"]) == (suites[0]["verdict"], 60)


def test_a_run_that_is_compared_elsewhere_is_whole(stored, run_evalkit, tmp_path):
    _files, folders, suites = stored
    for folder in folders:
        shutil.copytree(folder, tmp_path / "elsewhere" / folder.name)
    shutil.rmtree(tmp_path / "runs")
    moved = [tmp_path / "elsewhere" / folder.name for folder in folders]
    assert json.loads(run_evalkit("compare", *moved, "--json").stdout)["suites"] == suites


def test_score_grades_again_without_asking(endpoint, config, run_evalkit):
    path = config("ref", endpoint.url, [MANY])
    first = json.loads(run_evalkit("run", path, "--json", "--quiet").stdout)
    asked = len(endpoint.requests)
    again = run_evalkit("score", path, "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["suites"] == first["suites"]
    assert len(endpoint.requests) == asked


def test_a_limit_asks_so_many_and_a_larger_one_only_adds(endpoint, config, run_evalkit):
    path = config("ref", endpoint.url, [MANY])
    assert run_evalkit("run", path, "--limit", "10", "--quiet").returncode == 0
    assert len(endpoint.requests) == 10
    assert run_evalkit("run", path, "--limit", "25", "--stored", "--quiet").returncode == 0
    assert len(endpoint.requests) == 25


MISTAKES = [
    ("a tab", lambda text: text.replace('"model"', '\t"model"'), 2, ["tab"]),
    ("an unknown key", lambda text: text.replace('"model"', '"modle"'), 2, ["modle", "did you mean 'model'"]),
    ("a mistyped suite", lambda text: text.replace("aime24", "aime42"), 2, ["aime42", "did you mean"]),
    (
        "a model that is not served",
        lambda text: text.replace('"loopback"', '"loopbak"'),
        2,
        ["loopbak", "serves 'loopback'"],
    ),
    ("no data set", lambda text: text.replace('"data": "', '"data": "/nowhere'), 2, ["data", "does not exist"]),
    ("a wrong port", lambda text: _other_port(text), 3, ["127.0.0.1:1/"]),
    (
        "no key",
        lambda text: text.replace('"model"', '"api_key_env": "NO_SUCH_KEY_42", "model"'),
        2,
        ["NO_SUCH_KEY_42", "not set"],
    ),
    ("a wrong path", lambda text: text.replace("/v1", "/v2"), 3, ["refuses every request", "not_found"]),
]


def _other_port(text):
    import re

    return re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:1", text)


@pytest.mark.parametrize("option", ["--out", "--junit", "--openmetrics"])
def test_a_file_that_cannot_be_written_is_said_before_anything_is_asked(
    endpoint, config, run_evalkit, tmp_path, option
):
    (tmp_path / "file").write_text("")
    files = [config(name, endpoint.url, [{"name": "aime24", "partial_data": True}]) for name in ("ref", "cand")]
    done = run_evalkit("compare", *files, option, tmp_path / "file" / "x")
    assert (done.returncode, endpoint.requests) == (3, []), done.stderr
    assert f"evalkit: {option}: {tmp_path / 'file' / 'x'}" in done.stderr


def test_every_data_set_that_is_absent_is_said_at_once(endpoint, config, run_evalkit, tmp_path):
    path = config("ref", endpoint.url, ["aime24", "musr"], data=str(tmp_path / "empty"))
    (tmp_path / "empty").mkdir()
    done = run_evalkit("run", path, "--quiet")
    assert (done.returncode, endpoint.requests) == (2, [])
    assert [line.count("is not on this machine") for line in done.stderr.splitlines()] == [1, 1], done.stderr


def test_a_key_that_is_not_set_is_said_with_one_place(endpoint, config, run_evalkit):
    path = config("ref", endpoint.url, [{"name": "aime24", "partial_data": True}])
    path.write_text(path.read_text().replace('"model"', '\n"api_key_env": "NO_SUCH_KEY_42",\n"model"'))
    done = run_evalkit("run", path, "--quiet")
    assert done.stderr.startswith(f"evalkit: {path}:2: the environment variable NO_SUCH_KEY_42"), done.stderr


@pytest.mark.parametrize(("what", "spoil", "code", "words"), MISTAKES, ids=[entry[0] for entry in MISTAKES])
def test_a_mistake_is_one_sentence_with_the_right_code(endpoint, config, run_evalkit, what, spoil, code, words):
    path = config("ref", endpoint.url, [{"name": "aime24", "partial_data": True}])
    text = spoil(path.read_text())
    path.write_text(text)
    done = run_evalkit("run", path, "--quiet")
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 3
    for word in words:
        assert word in done.stderr


def test_a_context_that_is_too_small_is_said_before_anything_is_asked(endpoint, config, run_evalkit):
    endpoint.max_model_len = 4096
    done = run_evalkit("run", config("ref", endpoint.url), "--quiet")
    assert done.returncode == 2
    assert "max_tokens" in done.stderr
    assert "4096" in done.stderr
    assert not endpoint.requests


def test_prompts_that_do_not_fit_stop_the_suite_with_a_sentence(endpoint, config, run_evalkit):
    message = "This model's maximum context length is 100 tokens. However, you requested 4000 tokens."
    endpoint.spoil = lambda body, number: (400, {"error": {"message": message, "code": "context_length_exceeded"}})
    path = config("ref", endpoint.url, [MANY], limits={"concurrency": 2, "permanent_failures_to_stop": 5})
    done = run_evalkit("run", path, "--quiet")
    assert done.returncode == 3
    assert "context_overflow" in done.stderr
    assert len(endpoint.requests) <= 7


def test_a_key_is_never_stored_or_printed(endpoint, config, run_evalkit, tmp_path):
    endpoint.spoil = lambda body, number: (500, {"error": "sk-planted-4711"}) if number == 1 else None
    path = config("ref", endpoint.url, [MANY], api_key_env="PLANTED_KEY")
    done = run_evalkit("run", path, "--quiet", env={"PLANTED_KEY": "sk-planted-4711"})
    assert done.returncode == 0, done.stderr
    assert "4711" not in done.stdout + done.stderr
    stored = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert b"sk-planted-4711" not in stored


def test_a_second_process_on_the_same_run_is_refused(endpoint, config, run_evalkit, tmp_path):
    path = config("ref", endpoint.url, [MANY])
    with journal.Journal(tmp_path / "runs" / "ref"):
        done = run_evalkit("run", path, "--quiet")
    assert done.returncode == 2
    assert "is in use by process" in done.stderr


def test_a_folder_that_is_no_run_is_refused(endpoint, config, run_evalkit, tmp_path):
    done = run_evalkit("compare", config("ref", endpoint.url), tmp_path)
    assert done.returncode == 2
    assert "is neither a run folder" in done.stderr


def test_both_sides_need_names_of_their_own(endpoint, config, run_evalkit, tmp_path):
    path = config("ref", endpoint.url)
    done = run_evalkit("compare", path, path)
    assert done.returncode == 2
    assert "both sides are called 'ref'" in done.stderr


def test_what_two_plans_make_invalid_is_refused_before_anything_is_asked(
    endpoint, other_endpoint, config, run_evalkit, tmp_path
):
    ref = config("ref", endpoint.url, [MANY])
    assert run_evalkit("run", ref, "--quiet").returncode == 0
    asked = len(endpoint.requests)
    fewer = config("cand", other_endpoint.url, [{**MANY, "limit": 40}])
    hot = config("hot", other_endpoint.url, [MANY], sampling={"temperature": 0.7})
    for reference in (ref, tmp_path / "runs" / "ref"):  # a file, and a stored bank
        for candidate, why in ((fewer, "the two sides differ in data"), (hot, "sampling.temperature: 0.0 against 0.7")):
            done = run_evalkit("compare", reference, candidate)
            assert done.returncode == 2, done.stdout
            told = " ".join(done.stderr.split())
            assert why in told
            assert f"{reference}" in told
            assert f"{candidate}:" in told
    assert (len(endpoint.requests), len(other_endpoint.requests)) == (asked, 0)
    assert run_evalkit("compare", tmp_path / "runs" / "ref", fewer, "--anyway").returncode == 3
    stored = run_evalkit("compare", tmp_path / "runs" / "ref", tmp_path / "runs" / "cand", "--anyway")
    assert stored.returncode == 2
    assert "--anyway: has no effect here" in stored.stderr


def test_a_limit_shows_wherever_the_score_is_passed_on(endpoint, other_endpoint, config, run_evalkit, tmp_path):
    whole = {"name": "mmlu_gen_5shot", "partial_data": True, "margin_pt": 30}
    ref, cand = config("ref", endpoint.url, [whole]), config("cand", other_endpoint.url, [whole])
    assert run_evalkit("compare", ref, cand, "--limit", "30").returncode == 0
    home, part = tmp_path / "runs" / "ref--cand", "30 of 14042 items"
    style = ("--style", "flagrelease-2026", "--chip", "K3")
    refused = run_evalkit("card", home, *style)
    assert refused.returncode == 2
    assert part in refused.stderr
    assert "--partial" in refused.stderr
    assert f"({part})" in run_evalkit("card", home, *style, "--partial").stdout
    assert f',"{part}",' in run_evalkit("report", home, "--format", "csv").stdout
    assert run_evalkit("card", home, "--hub", "model-index").returncode == 2
    assert f"({part})" in run_evalkit("card", home, "--hub", "model-index", "--partial").stdout
