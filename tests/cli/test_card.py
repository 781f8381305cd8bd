"""`evalkit card` and `evalkit card check`: a card into a README and back to the same numbers; mistakes in one sentence."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from evalkit.model import Status
from evalkit.publish.card_parse import parse_file
from evalkit.publish.cards import BEGIN, END

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "render"
STYLES = ["evalkit", "flagrelease-2025", "flagrelease-2025-percent", "flagrelease-2026", "flagrelease-2026-fraction"]


@pytest.fixture
def folder(store, example):
    return store(example.clean())


def readme(tmp_path, text=f"---\nlicense: mit\n---\n# Acme\r\n\n{BEGIN}\n{END}\ntail without an end"):
    path = tmp_path / "README.md"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("style", STYLES)
def test_into_a_readme_and_back_to_the_same_numbers(invoke, folder, tmp_path, example, style, language):
    path = readme(tmp_path)
    options = ["--style", style, "--chip", "Ascend", "--language", language, "--into", path]
    done = invoke("card", folder, *options)
    assert (done.code, done.err) == (0, f"wrote the card into {path}\n")
    written = path.read_bytes()
    assert written.startswith(f"---\nlicense: mit\n---\n# Acme\r\n\n{BEGIN}\n".encode())
    assert written.endswith(f"{END}\ntail without an end".encode())
    (table,) = parse_file(path)
    assert len(table.rows) == 2
    for row, suite in zip(table.rows, example.clean().suites, strict=True):
        assert abs(float(row.reference.fraction) - suite.reference.mean) < 0.00051
        assert abs(float(row.candidate.fraction) - suite.candidate.mean) < 0.00051
    again = invoke("card", folder, *options)
    assert again.err == f"{path} holds this card already\n"
    assert path.read_bytes() == written
    assert invoke("card", "check", path).code == 0, invoke("card", "check", path).out


def test_the_chinese_card_is_in_full_width_punctuation(invoke, folder):
    text = invoke("card", folder, "--style", "flagrelease-2026", "--chip", "Ascend", "--language", "zh").out
    assert "：" in text
    assert "；" in text
    assert "（" in text
    provenance = text[text.index("由 evalkit") :]
    assert ": " not in provenance.replace("sha256:", "")


def test_another_verdict_replaces_the_first_card(invoke, folder, store, example, tmp_path):
    path = readme(tmp_path)
    options = ["--style", "flagrelease-2026", "--chip", "Ascend", "--into", path]
    invoke("card", folder, *options)
    path.chmod(0o640)
    invoke("card", store(replace(example.clean(), created="2026-08-01T00:00:00Z"), "other"), *options)
    text = path.read_text()
    assert text.count("| Metrics |") == 1
    assert "2026-08-01" in text
    assert "2026-07-04T11" not in text
    assert path.stat().st_mode & 0o777 == 0o640
    assert [file.name for file in tmp_path.iterdir() if file.name.startswith(".README")] == []


def test_an_invalid_or_unfinished_comparison_makes_no_card(invoke, store, comparison, example):
    style = ["--style", "flagrelease-2026", "--chip", "Ascend"]
    done = invoke("card", store(comparison), *style)
    assert done.code == 2
    assert "this comparison makes no card" in done.err
    assert "--allow-invalid" in done.err
    forced = invoke("card", store(comparison), *style, "--allow-invalid")
    assert forced.code == 0
    assert "Not for publication" in forced.out
    assert "✗ INVALID" in forced.out
    whole = example.clean()
    side = replace(whole.suites[0].candidate, counts={Status.SCORED.value: 1000, Status.NOT_ASKED.value: 584})
    unfinished = replace(whole, suites=(replace(whole.suites[0], candidate=side), whole.suites[1]))
    assert "incomplete: GPQA Diamond" in invoke("card", store(unfinished), *style).err


def test_the_style_of_a_project(invoke, folder, tmp_path):
    style = tmp_path / "house.yaml"
    style.write_text("extends: flagrelease-2026\ntitle: ours\nreference: ours\ncandidate: theirs\n")
    assert "| ours | theirs |" in invoke("card", folder, "--style", style).out
    assert "no effect" in invoke("card", folder, "--style", style, "--chip", "Ascend").err


def test_the_hub_formats(invoke, folder):
    results = invoke("card", folder, "--hub", "eval-results", "--source", "https://example.org/run")
    (entry,) = yaml.safe_load(results.out)
    assert (entry["dataset"]["id"], entry["value"]) == ("Idavidrein/gpqa", 70.14)
    assert entry["source"]["url"] == "https://example.org/run"
    assert "left out: mmlu_gen_5shot" in results.err
    index = invoke("card", folder, "--hub", "model-index", "--model", "Acme-FlagOS").out
    assert yaml.safe_load(index.strip("-\n"))["model-index"][0]["name"] == "Acme-FlagOS"
    ever = json.loads(invoke("card", folder, "--hub", "every-eval-ever").out)
    assert ever["schema_version"] == "0.3.0"
    assert len(ever["evaluation_results"]) == 2


def test_a_model_index_goes_into_the_front_matter(invoke, folder, tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("---\nlicense: mit  # kept\n---\n# Acme\n")
    done = invoke("card", folder, "--hub", "model-index", "--into", readme)
    assert (done.code, done.out) == (0, "")
    assert f"wrote the model-index into {readme}" in done.err
    first = readme.read_bytes()
    assert first.startswith(b"---\nlicense: mit  # kept\nmodel-index:\n- name: Acme-7B-Instruct\n")
    assert first.endswith(b"\n---\n# Acme\n")
    assert "holds this model-index already" in invoke("card", folder, "--hub", "model-index", "--into", readme).err
    assert readme.read_bytes() == first
    readme.write_text("---\n- a list\n---\n")
    done = invoke("card", folder, "--hub", "model-index", "--into", readme)
    assert (done.code, readme.read_text()) == (2, "---\n- a list\n---\n")
    assert f"{readme}: the front matter is not a YAML mapping" in done.err
    readme.write_text("---\nlicense: mit\n# Acme\n")
    done = invoke("card", folder, "--hub", "model-index", "--into", readme)
    assert (done.code, readme.read_text()) == (2, "---\nlicense: mit\n# Acme\n")
    assert f"{readme}: line 1: the front matter that begins here is never closed" in done.err


def test_nothing_to_publish_is_no_success(invoke, store, comparison):
    bad = store(replace(comparison, suites=comparison.suites[-1:]))
    for form in ("eval-results", "model-index", "every-eval-ever"):
        done = invoke("card", bad, "--hub", form)
        assert (done.code, "no suite of this comparison can be published" in done.err) == (2, True)


MISTAKES = [
    ([], "--style is missing: one of evalkit, flagrelease-2025"),
    (["--style", "flagrelease-2026"], "--chip is missing"),
    (["--style", "flagrelase-2026", "--chip", "x"], "did you mean 'flagrelease-2026'?"),
    (["--style", "evalkit", "--chip", "x", "--source", "y"], "--source: has an effect with --hub only"),
    (["--hub", "eval-results", "--style", "evalkit", "--chip", "x"], "--style, --chip: no effect with --hub"),
    (["--hub", "eval-results", "--model", "x"], "--model: no effect"),
    (["--hub", "every-eval-ever", "--into", "x.md"], "--into: no effect with --hub every-eval-ever"),
    (["--style", "evalkit", "--chip", "x", "--into", "nowhere.md"], "nowhere.md: cannot be read"),
]


@pytest.mark.parametrize(("options", "sentence"), MISTAKES)
def test_mistakes(invoke, folder, options, sentence):
    done = invoke("card", folder, *options)
    assert done.code == 2
    assert sentence in done.err


def test_a_readme_without_markers_is_named_and_untouched(invoke, folder, tmp_path):
    path = readme(tmp_path, "# Acme\n")
    done = invoke("card", folder, "--style", "evalkit", "--chip", "x", "--into", path)
    assert done.code == 2
    assert f"{path}: the file has 0 line(s) {BEGIN}" in done.err
    assert path.read_text() == "# Acme\n"


SWAPPED = """
| Metrics | Acme-7B-Nvidia-Origin | Acme-7B-{}-FlagOS |
| --- | --- | --- |
| mmmu | {} | {} |
| ERQA | {} | {} |
| ocrbench_test \x1b[2J | 0 | 86.58 |
"""


def test_check_names_file_line_and_rule_and_exits_1(invoke, tmp_path):
    first, second = tmp_path / "a.md", tmp_path / "b.md"
    first.write_text(SWAPPED.format("Nvidia", 60.89, 57.44, 41.0, 42.5))
    second.write_text(SWAPPED.format("MetaX", 57.44, 60.89, 42.5, 41.0))
    done = invoke("card", "check", first, second)
    assert done.code == 1
    assert f"{second}:2: swapped-columns: " in done.out
    assert f"{first}:6: zero-score: " in done.out
    assert "\x1b" not in done.out
    assert done.err.endswith("5 findings in 2 files: unknown-label 2, zero-score 2, swapped-columns 1\n")
    document = json.loads(invoke("card", "check", "--json", first, second).out)
    rules = {one["rule"] for one in document["findings"]}
    assert {"swapped-columns", "zero-score"} <= rules <= set(document["rules"])


def test_check_is_clean_on_a_clean_card_and_says_what_it_cannot_read(invoke, folder, tmp_path):
    card = tmp_path / "card.md"
    card.write_text(invoke("card", folder, "--style", "evalkit", "--chip", "Ascend").out)
    done = invoke("card", "check", card)
    assert (done.code, done.out, done.err) == (0, "", "0 findings in 1 file\n")
    assert json.loads(invoke("card", "check", "--json", card).out)["findings"] == []
    assert invoke("card", "check", tmp_path / "nowhere.md").code == 2


def test_the_published_tables(invoke, shared_data):
    done = invoke("card", "check", shared_data / "flagrelease_tables.json")
    assert done.code == 1
    assert len(done.out.splitlines()) > 30


def test_help_shows_how_to_make_and_that_one_can_check(run_evalkit):
    text = run_evalkit("card", "--help").stdout
    assert "evalkit card [OPTIONS] CMP" in text
    assert "--allow-invalid" in text
    assert "check" in text
    assert "README.md..." in run_evalkit("card", "check", "--help").stdout


def test_from_the_command_line(run_evalkit, folder, tmp_path):
    bad = tmp_path / "a.md"
    bad.write_text(SWAPPED.format("Nvidia", 60.89, 57.44, 41.0, 42.5))
    assert run_evalkit("card", "check", bad).returncode == 1
    assert run_evalkit("card", folder, "--style", "evalkit", "--chip", "Ascend").returncode == 0
