"""`evalkit history`: nights are added once, shown, gated; mistakes in one sentence."""

import json

import pytest
import yaml

from evalkit.publish.history import read


@pytest.fixture
def runs(invoke, store, story, tmp_path):
    """Twelve nights, each added as a nightly job does: the comparison's folder is the same every night."""
    for one in story:
        done = invoke("history", "add", store(one))
        assert done.code == 0
    return tmp_path / "runs"


@pytest.fixture
def known(tmp_path):
    path = tmp_path / "known.yaml"
    about = {"by": "Ann", "reason": "softmax in bf16"}
    entry = {"suite": "musr", "from": "2026-11-06", "until": "2026-11-30", **about}
    path.write_text(yaml.safe_dump([entry]))
    return path


def test_a_night_is_added_once(invoke, store, story, tmp_path):
    folder = store(story[0])
    path = tmp_path / "runs" / "history.jsonl"
    done = invoke("history", "add", folder)
    assert done.err == f"added 2026-11-01 of candidate against reference to {path}\n"
    assert invoke("history", "add", folder / "comparison.json").err == f"{path} holds this night already\n"
    assert len(read(path)) == 1


def test_facts_series_night_and_folder_of_the_users_own(invoke, store, story, tmp_path):
    options = ["--fact", "driver=575.2", "--fact", "image=a@sha256:b=c", "--series", "nightly", "--night", "2026-12-01"]
    done = invoke("history", "add", store(story[0]), *options, "--runs", tmp_path / "elsewhere")
    assert done.code == 0
    (night,) = read(tmp_path / "elsewhere" / "history.jsonl")
    assert (night.night, night.series) == ("2026-12-01", "nightly")
    assert (night.facts["driver"], night.facts["image"]) == ("575.2", "a@sha256:b=c")


def test_the_table(invoke, runs):
    done = invoke("history", "--runs", runs)
    assert (done.code, done.err) == (0, "")
    words = " ".join(done.out.split())
    assert "MuSR 多步推理: bad since 2026-11-06, last good night 2026-11-04" in words
    assert "candidate.build.flaggems 5.3.4 → 5.3.5" in words
    one = invoke("history", "--runs", runs, "--suite", "musr", "--last", "3").out
    assert [line.split()[0] for line in one.splitlines() if line.startswith("2026")] == [
        f"2026-11-{d}" for d in (10, 11, 12)
    ]
    assert "最近一次" in invoke("history", "--runs", runs, "--language", "zh").out


def test_the_json_document(invoke, runs, known):
    document = json.loads(invoke("history", "--runs", runs, "--known", known, "--json").out)
    (series,) = document["series"]
    musr = next(suite for suite in series["suites"] if suite["suite"] == "musr")
    assert musr["episodes"][0]["first_bad"] == "2026-11-06"
    assert [bool(point["known"]) for point in musr["points"]] == [False] * 5 + [True, True, False] + [True] * 4
    assert document["known"][0]["reason"] == "softmax in bf16"


def test_the_page(invoke, runs, known, tmp_path):
    out = tmp_path / "pages" / "history.html"
    done = invoke("history", "--runs", runs, "--known", known, "--html", out)
    assert done.err == f"wrote {out}\n"
    text = out.read_text()
    assert text.count('<svg class="plot trend"') == 4
    assert "known until 2026-11-30: softmax in bf16" in text


def test_the_gate_lets_known_differences_pass_and_shows_them(invoke, store, story, tmp_path, known):
    for one in story[:9]:
        invoke("history", "add", store(one))
    runs = tmp_path / "runs"
    assert invoke("history", "--runs", runs).code == 0
    assert invoke("history", "--runs", runs, "--gate", "strict").code == 1
    done = invoke("history", "--runs", runs, "--gate", "strict", "--known", known)
    assert done.code == 0
    assert "DEGRADED (known)" in done.out
    known.write_text(known.read_text().replace("2026-11-30", "2026-11-08"))
    done = invoke("history", "--runs", runs, "--gate", "strict", "--known", known)
    assert done.code == 1
    assert f"{known} line 1: musr: expired on 2026-11-08, and the difference is still there" in done.err


MISTAKES = [
    (["--runs", "{runs}/nowhere"], "there is no history yet: `evalkit history add CMP` begins one"),
    (["--runs", "{runs}", "--suite", "mursr"], "did you mean 'musr'?"),
    (["--runs", "{runs}", "--known", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
    (["--runs", "{runs}", "add", "{runs}/reference--candidate"], "--runs stands before `add`"),
    (["--json", "add", "{runs}/reference--candidate"], "--json stands before `add`"),
    (["add", "{runs}/reference--candidate", "--fact", "driver"], "--fact 'driver': write it as NAME=VALUE"),
    (["add", "{runs}/reference--candidate", "--night", "today"], "'today' is no date"),
    (["add", "{runs}"], "comparison.json: cannot be read"),
]


@pytest.mark.parametrize(("arguments", "sentence"), MISTAKES)
def test_mistakes(invoke, runs, arguments, sentence):
    done = invoke("history", *[one.format(runs=runs) for one in arguments])
    assert done.code == 2
    assert sentence in done.err
    assert len(read(runs / "history.jsonl")) == 12


def test_from_the_command_line(run_evalkit, store, story, tmp_path):
    folder = store(story[5])
    assert run_evalkit("history", "add", folder, cwd=tmp_path).returncode == 0
    done = run_evalkit("history", "--gate", "lenient", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "bad since 2026-11-06" in done.stdout


def test_a_real_night_keeps_the_build_that_the_configuration_names(
    endpoint, other_endpoint, config, run_evalkit, tmp_path
):
    suites = [{"name": "gpqa_diamond", "partial_data": True, "repeats": 1}]
    ref = config("ref", endpoint.url, suites, build="sha256:abc")
    cand = config("cand", other_endpoint.url, suites, build="flaggems=5.3.5 driver=575.2 night=2026-11-01")
    assert run_evalkit("compare", ref, cand, "--quiet").returncode == 4
    assert run_evalkit("history", "add", tmp_path / "runs" / "ref--cand").returncode == 0
    (night,) = read(tmp_path / "runs" / "history.jsonl")
    builds = {name: value for name, value in night.facts.items() if ".build" in name}
    assert builds == {
        "reference.build": "sha256:abc",
        "candidate.build.flaggems": "5.3.5",
        "candidate.build.driver": "575.2",
    }
    assert "127.0.0.1" not in (tmp_path / "runs" / "history.jsonl").read_text()
