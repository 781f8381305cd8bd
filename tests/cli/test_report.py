"""`evalkit report` and `evalkit explain`: from a stored comparison to every format, and mistakes in one sentence."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "render"
BY_FORMAT = [
    ("csv", "en", "table.csv"),
    ("json", "en", "table.json"),
    ("openmetrics", "en", "metrics.txt"),
    ("junit", "en", "junit-fail.xml"),
    ("summary", "en", "summary.en.md"),
    ("summary", "zh", "summary.zh.md"),
]


@pytest.fixture
def folder(store, comparison):
    return store(comparison)


@pytest.mark.parametrize(("form", "language", "file"), BY_FORMAT)
def test_each_format_is_the_golden_one(invoke, folder, form, language, file):
    done = invoke("report", folder, "--format", form, "--language", language)
    assert (done.code, done.err) == (0, "")
    assert done.out.encode() == (GOLDEN / file).read_bytes()


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(("form", "file"), [("markdown", "table.{}.md"), ("latex", "table.{}.tex")])
def test_behaviour_rows(invoke, folder, form, language, file):
    golden = (GOLDEN / file.format(language)).read_text()
    done = invoke("report", folder / "comparison.json", "--format", form, "--language", language, "--behaviour")
    assert done.out == golden
    without = invoke("report", folder, "--format", form, "--language", language).out
    assert {"en": "refusals", "zh": "拒答"}[language] in golden
    assert {"en": "refusals", "zh": "拒答"}[language] not in without


def test_the_terminal_table_is_the_default(invoke, folder, tmp_path):
    shown = invoke("report", folder)
    assert "MuSR" in shown.out
    assert "DEGRADED" in shown.out
    done = invoke("report", folder, "--out", tmp_path / "table.txt", "--behaviour")
    assert done.err == f"wrote {tmp_path / 'table.txt'}\n"
    golden = (GOLDEN / "terminal-100.en.txt").read_text()
    assert (tmp_path / "table.txt").read_text() == golden


def test_html_withholds_unless_asked(invoke, folder, tmp_path):
    out = tmp_path / "deep" / "report.html"
    assert invoke("report", folder, "--format", "html", "--out", out).code == 0
    shared = out.read_text()
    assert "SECRET-GATED-QUESTION" not in shared
    assert "gpu-7" not in shared
    invoke(
        "report", folder, "--format", "html", "--out", out, "--include-questions", "--include-hosts", "--language", "zh"
    )
    private = out.read_text()
    assert "SECRET-GATED-QUESTION" in private
    assert "gpu-7" in private
    assert 'lang="zh-CN"' in private
    assert invoke("report", folder, "--format", "html").out == shared


def test_a_new_report_is_one_template(invoke, folder, tmp_path):
    template = tmp_path / "mine.md.j2"
    template.write_text(
        "{{ words.verdict }}: {{ table.verdict.value }}\n"
        "{% for row in table.rows %}\n- {{ row.label }} {{ row.change | change }}{% if behaviour %} +{% endif %}\n\n{% endfor %}\n"
    )
    done = invoke("report", folder, "--format", template, "--behaviour")
    assert done.code == 0
    assert done.out.startswith("Verdict: INVALID\n- GPQA Diamond -0.3 [-1.5, +0.9] +\n")


def test_junit_is_one_case_a_suite_and_one_for_their_mean(invoke, folder, comparison):
    root = ET.fromstring(invoke("report", folder, "--format", "junit").out)
    names = [suite.suite for suite in comparison.suites]
    assert [case.get("name") for case in root.iter("testcase")] == [*names, "overall"]


MISTAKES = [
    (["--format", "htlm"], ["'htlm'", "did you mean 'html'?"]),
    (["--format", "csv", "--behaviour"], ["--behaviour", "csv"]),
    (["--format", "markdown", "--include-questions"], ["--include-questions", "markdown"]),
    (["--include-hosts"], ["--include-hosts", "terminal"]),
    (["--format", "nowhere.md.j2"], ["nowhere.md.j2"]),
]


@pytest.mark.parametrize(("options", "words"), MISTAKES)
def test_mistakes(invoke, folder, options, words):
    done = invoke("report", folder, *options)
    assert done.code == 2
    assert all(word in done.err for word in words), done.err
    assert len(done.err.splitlines()) == 1


def test_what_is_no_comparison_is_said(invoke, tmp_path):
    done = invoke("report", tmp_path / "runs")
    assert done.code == 2
    assert "runs: cannot be read (No such file or directory): give the folder" in done.err
    (tmp_path / "comparison.json").write_text("{}")
    assert "no schema_version" in invoke("explain", tmp_path).err


def test_a_file_that_cannot_be_written(invoke, folder, tmp_path):
    (tmp_path / "file").write_text("")
    done = invoke("report", folder, "--format", "csv", "--out", tmp_path / "file" / "x.csv")
    assert (done.code, "cannot be written" in done.err) == (3, True)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_explain(invoke, folder, language):
    golden = (GOLDEN / f"explain.{language}.txt").read_text()
    assert invoke("explain", folder, "--language", language).out == golden
    one = invoke("explain", folder, "musr", "--language", language).out
    assert one.strip() in golden
    assert len(one.splitlines()) == 2


def test_explain_names_the_nearest_suite(invoke, folder):
    done = invoke("explain", folder, "mursr")
    assert (done.code, "did you mean 'musr'?" in done.err) == (2, True)


def test_from_the_command_line(run_evalkit, folder):
    done = run_evalkit("report", folder, "--format", "json", env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["verdict"] == "INVALID"
