"""What `evalkit compare` writes for CI: by options, and as the environment says; off with EVALKIT_CI=off."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from evalkit.cli.compare import NOTE, ForCi, _fitting_summary, write_for_ci
from evalkit.errors import StorageError
from evalkit.model import said

CI_NAMES = ("GITHUB_ACTIONS", "GITLAB_CI", "GITHUB_STEP_SUMMARY", "EVALKIT_CI")


@pytest.fixture(autouse=True)
def no_ci(monkeypatch):
    for name in CI_NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def github(monkeypatch, tmp_path):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    return tmp_path / "summary.md"


def test_nothing_without_being_asked(comparison, tmp_path, capsys):
    write_for_ci(comparison, tmp_path, ForCi())
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr() == ("", "")


def test_the_files_that_are_asked_for(comparison, tmp_path, capsys):
    given = {"junit": tmp_path / "a" / "junit.xml", "openmetrics": tmp_path / "metrics.txt", "on_inconclusive": "warn"}
    write_for_ci(comparison, tmp_path, ForCi(**given))
    root = ET.fromstring(given["junit"].read_bytes())
    assert len(root.findall(".//testcase")) == len(comparison.suites) + 1
    assert root.find(".//skipped") is not None
    names = {family.name for family in text_string_to_metric_families(given["openmetrics"].read_text())}
    assert "evalkit_suite_verdict" in names
    assert capsys.readouterr().err.count("wrote ") == 2
    write_for_ci(comparison, tmp_path, ForCi(**{**given, "on_inconclusive": "fail"}))
    assert ET.fromstring(given["junit"].read_bytes()).find(".//skipped") is None


def test_github_gets_a_summary_and_annotations(comparison, tmp_path, github, capsys):
    github.write_text("# from an earlier command\n")
    write_for_ci(comparison, tmp_path, ForCi())
    text = github.read_text()
    assert text.startswith("# from an earlier command\n")
    assert "## ✗ evalkit: INVALID" in text
    assert "gpu-7" not in text
    out, err = capsys.readouterr()
    assert err == ""
    assert all(line.startswith(("::error ", "::warning ", "::notice ")) for line in out.splitlines())
    rows = (*comparison.suites, comparison.macro)
    assert len(out.splitlines()) == sum(row.verdict.value != "EQUIVALENT" for row in rows)
    write_for_ci(comparison, tmp_path, ForCi(as_json=True))
    assert capsys.readouterr() == ("", out), "stdout is one JSON document"


def test_github_without_a_summary_file(comparison, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    write_for_ci(comparison, tmp_path, ForCi())
    assert "::error" in capsys.readouterr().out


def test_a_summary_is_cut_to_what_github_shows(comparison, tmp_path, github, monkeypatch):
    whole = len(_fitting_summary(comparison, 10**6))
    brief = _fitting_summary(comparison, whole - 1)
    assert b"MuSR" in brief
    assert b"refused" not in brief
    assert len(brief) < whole
    assert _fitting_summary(comparison, len(brief) - 1).startswith(b"\n**evalkit: INVALID**")
    github.write_bytes(b"x" * 999_990)
    write_for_ci(comparison, tmp_path, ForCi())
    assert github.stat().st_size < 2**20


def test_gitlab_gets_a_note(comparison, tmp_path, monkeypatch):
    monkeypatch.setenv("GITLAB_CI", "true")
    write_for_ci(comparison, tmp_path, ForCi())
    assert "## ✗ evalkit: INVALID" in (tmp_path / NOTE).read_text()


@pytest.mark.parametrize("name", ["GITHUB_ACTIONS", "GITLAB_CI"])
def test_off(comparison, tmp_path, monkeypatch, capsys, name):
    monkeypatch.setenv(name, "true")
    monkeypatch.setenv("EVALKIT_CI", "off")
    write_for_ci(comparison, tmp_path, ForCi())
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""


def test_what_cannot_be_written_is_said(comparison, tmp_path, github):
    github.mkdir()
    with pytest.raises(StorageError, match=r"GITHUB_STEP_SUMMARY: .*cannot be written"):
        write_for_ci(comparison, tmp_path, ForCi())


def test_compare_writes_them(endpoint, other_endpoint, config, run_evalkit, tmp_path):
    suites = [{"name": "gpqa_diamond", "partial_data": True, "limit": 24, "repeats": 1}]
    ref, cand = config("ref", endpoint.url, suites), config("cand", other_endpoint.url, suites)
    junit, metrics, summary = tmp_path / "junit.xml", tmp_path / "metrics.txt", tmp_path / "summary.md"
    env = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary), "GITLAB_CI": "", "EVALKIT_CI": ""}
    done = run_evalkit("compare", ref, cand, "--json", "--junit", junit, "--openmetrics", metrics, env=env)
    document = json.loads(done.stdout)
    assert done.returncode == document["exit_code"] == 4, done.stderr
    assert ET.fromstring(junit.read_bytes()).find(".//failure").get("type") == "INCONCLUSIVE"
    assert metrics.read_text().endswith("# EOF\n")
    assert "INCONCLUSIVE" in summary.read_text()
    assert "127.0.0.1" not in summary.read_text()
    assert "::error title=" in done.stderr
    quiet = run_evalkit(
        "compare", tmp_path / "runs" / "ref", tmp_path / "runs" / "cand", env={**env, "EVALKIT_CI": "off"}
    )
    assert "::" not in quiet.stdout + quiet.stderr


def test_a_server_that_quotes_a_gated_question_in_its_refusal_publishes_none(
    endpoint, other_endpoint, config, run_evalkit, tmp_path
):
    def quoting(body, _number):
        text = body["messages"][-1]["content"]
        return (400, {"error": {"message": f"not safe: {text}"}}) if sum(text.encode()) % 3 == 0 else None

    other_endpoint.spoil = quoting
    suites = [{"name": "gpqa_diamond", "partial_data": True, "limit": 24, "repeats": 1}]
    ref, cand = config("ref", endpoint.url, suites), config("cand", other_endpoint.url, suites)
    junit, out = tmp_path / "junit.xml", tmp_path / "out"
    env = {"GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"), "GITLAB_CI": ""}
    done = run_evalkit("compare", ref, cand, "--junit", junit, "--out", out, env=env)
    page = run_evalkit("report", out / "comparison.json", "--format", "html")
    shown = [done.stdout, done.stderr, junit.read_text(), (tmp_path / "summary.md").read_text(), page.stdout]
    told = "\n".join([*shown, (out / "comparison.json").read_text()])
    assert "HTTP 400" in told
    assert "not safe" not in told


@pytest.mark.parametrize("pages", [False, True], ids=["refused", "away"])
def test_a_server_that_answers_no_gated_question_and_quotes_them_publishes_none(
    endpoint, other_endpoint, config, run_evalkit, tmp_path, pages
):
    def quoting(body, _number):
        text = body["messages"][-1]["content"]
        status = 503 if pages else 400
        return (status, {"error": {"message": f"not safe: {text}"}}) if len(text) > 40 else None

    other_endpoint.spoil = quoting
    suites = [{"name": "gpqa_diamond", "partial_data": True, "limit": 24, "repeats": 1}]
    limits = {"outage_seconds": 0.01, "retries": 0}
    ref, cand = config("ref", endpoint.url, suites), config("cand", other_endpoint.url, suites, limits=limits)
    junit, out = tmp_path / "junit.xml", tmp_path / "out"
    done = run_evalkit("compare", ref, cand, "--junit", junit, "--out", out)
    manifest = (tmp_path / "runs" / "cand" / "manifest.jsonl").read_text()
    assert '"stopped":{' in manifest
    told = "\n".join([done.stdout, done.stderr, junit.read_text(), (out / "comparison.json").read_text(), manifest])
    assert ("HTTP 503" if pages else "HTTP 400") in told
    assert "not safe" not in told


def test_replies_that_quote_gated_questions_are_stored_and_shown_only_when_asked_for(
    endpoint, other_endpoint, config, run_evalkit, invoke, tmp_path
):
    for server, letter in ((endpoint, "A"), (other_endpoint, "B")):
        server.answer = lambda messages, letter=letter: f"They ask: {messages[-1]['content']}\n\nAnswer: {letter}"
    suites = [{"name": "gpqa_diamond", "partial_data": True, "limit": 24, "repeats": 1}]
    ref, cand = config("ref", endpoint.url, suites), config("cand", other_endpoint.url, suites)
    out = tmp_path / "out"
    done = run_evalkit("compare", ref, cand, "--out", out)
    listed = [invoke("flips", out, "--whole", *more) for more in ((), ("--json",))]
    told = "\n".join([done.stdout, done.stderr, (out / "comparison.json").read_text(), *(one.out for one in listed)])
    assert "regressed" in told
    assert "They ask" not in told
    assert all("is left out: --include-questions" in one.err for one in listed)
    asked_for = invoke("flips", out, "--whole", "--include-questions")
    assert "They ask" in asked_for.out
    assert "is left out" not in asked_for.err
    open_hearted = tmp_path / "open"
    run_evalkit("compare", ref, cand, "--stored", "--include-questions", "--out", open_hearted)
    assert "They ask" in (open_hearted / "comparison.json").read_text()
    for run in (tmp_path / "runs").glob("*/manifest.jsonl"):
        run.unlink()
    gone = invoke("flips", open_hearted, "--whole")
    assert "the runs cannot be read" in gone.err
    assert "They ask" not in gone.out
    assert "They ask" in invoke("flips", open_hearted, "--whole", "--include-questions").out


def test_a_comparison_whose_notes_hold_addresses_keeps_them_to_itself(comparison, tmp_path, github):
    write_for_ci(replace(comparison, reasons=(said("http://10.1.2.3:8000/v1 is gone"),)), tmp_path, ForCi())
    assert "10.1.2.3" not in github.read_text()


def test_replies_in_a_github_job_hold_no_command(comparison, example, invoke, store, github):
    assert "::error::" in example.HOSTILE
    done = invoke("flips", store(comparison), "--kind", "changed", "--whole")
    assert "alert(1)" in done.out
    assert "::" not in done.out
    assert "##[" not in done.out
