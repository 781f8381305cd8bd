"""`evalkit plan` says what can be decided before anything is asked."""

import json
import re

import pytest

from evalkit.examine.forecast import percent

MANY = {"name": "mmlu_gen_5shot", "partial_data": True}


FEW = ("--comparisons", "100")


def test_a_plan_asks_nothing_and_says_that_the_gate_seldom_passes(endpoint, other_endpoint, config, run_evalkit):
    suites = [{**MANY, "margin_pt": 2}, {"name": "aime24", "partial_data": True, "margin_pt": 1}]
    ref, cand = config("ref", endpoint.url, suites), config("cand", other_endpoint.url, suites)
    done = run_evalkit("plan", ref, cand, *FEW)
    assert done.returncode == 4, done.stderr
    assert "EQUIVALENT 0 % 0 %" in " ".join(done.stdout.split())
    assert not endpoint.requests
    assert not other_endpoint.requests


def test_a_gate_that_passes_equal_stacks_exits_0(endpoint, other_endpoint, config, run_evalkit):
    suites = [{**MANY, "margin_pt": 5}]
    ref, cand = config("ref", endpoint.url, suites), config("cand", other_endpoint.url, suites)
    done = run_evalkit("plan", ref, cand, *FEW)
    assert done.returncode == 0, done.stdout
    assert "14,042" in done.stdout


@pytest.fixture
def pair(endpoint, other_endpoint, config):
    """Writes the two files; `candidate` replaces the candidate's suites."""

    def write(suites, candidate=None, **more):
        return config("ref", endpoint.url, suites, **more), config(
            "cand", other_endpoint.url, candidate or suites, **more
        )

    return write


def test_the_document_has_fractions_and_the_table_points_and_percent(pair, invoke):
    files = pair([{**MANY, "margin_pt": 5}])
    done = invoke("plan", *files, *FEW, "--gpus", "8", "--json")
    document = json.loads(done.out)
    (suite,) = document["suites"]
    assert (done.code, document["alpha"], document["power"], document["problems"]) == (0, 0.05, 0.9, [])
    assert (suite["margin"], suite["items"], suite["repeats"], suite["tokens"]) == (
        0.05,
        14042,
        [1, 1],
        [14042 * 512] * 2,
    )
    assert [one["loss_pt"] for one in document["chances"]] == [0, 1, 2, 3, 5]
    equal, *_some, worst = document["chances"]
    assert equal["verdicts"]["EQUIVALENT"] == equal["suites"]["mmlu_gen_5shot"] == 1.0
    assert (equal["mean"], document["overall_margin"], worst["verdicts"]["EQUIVALENT"]) == (
        None,
        None,
        pytest.approx(0.05, abs=0.06),
    )
    tokens = suite["tokens"][0] + document["probe_tokens"]
    assert document["tokens"] == [tokens, tokens]
    assert document["hours"] == pytest.approx(tokens / 1000 / 3600)
    assert document["gpu_hours"] == [pytest.approx(8 * document["hours"])] * 2
    shown = " ".join(invoke("plan", *files, *FEW).out.split())
    assert "14,042 1 ±5 100 % 7.19 M 2.0" in shown
    assert "EQUIVALENT 100 % 100 % 100 %" in shown
    assert "2.0 hours at 1000 tokens/s on each side, 2.0 GPU-hours a side" in shown
    # 14,042 answers on each side, of so many tokens, and the items once.
    assert suite["disk_bytes"] == pytest.approx(2 * 14042 * 125 + sum(suite["tokens"]) * 1.05 + 14042 * 200)
    assert document["disk_bytes"] == suite["disk_bytes"]
    assert " GB on disk, " in shown


@pytest.mark.parametrize(("share", "shown"), [(0.7999, 79), (0.8, 80), (0.29, 29), (0.9999, 99), (1.0, 100), (0.0, 0)])
def test_percents_are_rounded_down(share, shown):
    assert percent(share) == shown


SAMPLED = {"name": "aime24", "partial_data": True, "sampling": {"temperature": 0.6}}


def test_two_suites_have_a_mean_with_a_margin_of_its_own(pair, invoke):
    files = pair([{**MANY, "margin_pt": 4}, {**SAMPLED, "margin_pt": 20}], overall={"margin_pt": 5})
    document = json.loads(invoke("plan", *files, *FEW, "--json").out)
    assert document["overall_margin"] == 0.05
    shown = " ".join(invoke("plan", *files, *FEW, "--overall-margin", "7").out.split())
    assert "mean of 2 ±7" in shown
    again = json.loads(invoke("plan", *files, *FEW, "--json", "--seed", "1").out)
    assert again["chances"] != document["chances"]
    assert json.loads(invoke("plan", *files, *FEW, "--json").out) == document


def test_a_design_is_stored_as_a_pack_that_passes_and_compares(pair, invoke, config, endpoint, tmp_path):
    files = pair([{**SAMPLED, "margin_pt": 20, "repeats": 1}, {**MANY, "margin_pt": 5}], overall={"margin_pt": 10})
    assert invoke("plan", *files, *FEW).code == 4
    designed = tmp_path / "designed.yaml"
    done = invoke("plan", *files, *FEW, "--design", "--write", designed)
    assert (done.code, designed.exists()) == (0, True), done.out
    assert f"for `pack: {designed}`" in done.out
    alone = [SAMPLED, MANY]
    both = (
        config("ref", endpoint.url, alone, pack="designed.yaml"),
        config("cand", endpoint.url, alone, pack="designed.yaml"),
    )
    again = json.loads(invoke("plan", *both, *FEW, "--json").out)
    assert again["suites"][0]["repeats"][0] > 1
    assert (again["can_decide"], again["overall_margin"]) == (True, 0.1)
    assert invoke("plan", *files, *FEW, "--write", designed).code == 2
    assert invoke("plan", *files, *FEW, "--subsets").code == 2
    missing = invoke("plan", *pair([MANY], pack="nowhere.yaml"))
    assert missing.code == 2
    assert "nowhere.yaml" in missing.err


def test_margins_that_differ_are_refused_until_one_is_chosen(pair, invoke):
    files = pair([{**MANY, "margin_pt": 1.5}], [{**MANY, "margin_pt": 2}])
    done = invoke("plan", *files)
    assert done.code == 2
    assert "the two sides name different margins, 1.5 and 2 points: choose with --margin" in " ".join(done.err.split())
    chosen = invoke("plan", *files, *FEW, "--margin", "3")
    assert "different margins" not in chosen.out
    assert "±3" in chosen.out


@pytest.mark.parametrize(
    ("reference", "candidate", "key"),
    [
        ({}, {"sampling": {"temperature": 0.7}}, "sampling.temperature: 0.0 against 0.7"),
        ({}, {"sampling": {"max_tokens": 64}}, "sampling.max_tokens: 2048 against 64"),
        ({"limit": 50}, {"limit": 60}, "items: 50 against 60"),
        ({"sampling": {"extra_body": {"bias": 1}}}, {}, "sampling.bias: 1 against (not sent)"),
    ],
)
def test_files_that_make_a_comparison_invalid_are_refused_with_file_line_and_key(
    pair, invoke, endpoint, reference, candidate, key
):
    whole = {"name": "mmlu_gen_5shot", "margin_pt": 5}
    files = pair([{**whole, **reference}], [{**whole, **candidate}])
    done = invoke("plan", *files)
    told = " ".join(done.err.split())
    assert done.code == 2, done.out
    assert f"the two sides differ in {key} (mmlu_gen_5shot)" in told
    assert re.search(r"ref\.yaml:\d+ and \S*cand\.yaml:\d+: the two sides", told), told
    anyway = invoke("plan", *files, *FEW, "--anyway", "--json")
    (problem,) = json.loads(anyway.out)["problems"]
    assert (anyway.code, problem) == (4, f"mmlu_gen_5shot: the two sides differ in {key}: INVALID")
    assert invoke("doctor", *files, "--no-data").code == 2
    assert not endpoint.requests


def test_a_refusal_shows_no_key(pair, invoke):
    told = [{"temperature": heat, "extra_body": {"api_key": f"sk-hush-{heat}"}} for heat in (0.1, 0.2)]
    done = invoke("plan", *pair([{**MANY, "sampling": told[0]}], [{**MANY, "sampling": told[1]}]))
    assert done.code == 2
    assert "sampling.temperature: 0.1 against 0.2" in done.err
    assert "hush" not in done.err + done.out


def test_a_limit_makes_fewer_items(pair, invoke):
    files = pair([{**MANY, "margin_pt": 5}])
    (suite,) = json.loads(invoke("plan", *files, *FEW, "--limit", "50", "--json").out)["suites"]
    assert suite["items"] == suite["part"] == 50


def test_a_stored_reference_gives_its_own_variance_and_lengths(pair, invoke):
    files = pair([{**MANY, "margin_pt": 20, "repeats": 2, "sampling": {"temperature": 0.7}}])
    (before,) = json.loads(invoke("plan", *files, *FEW, "--json").out)["suites"]
    assert invoke("run", files[0], "--quiet").code == 0
    (after,) = json.loads(invoke("plan", *files, *FEW, "--limit", "60", "--json").out)["suites"]
    assert before["spread"] != after["spread"]
    assert before["length"] != after["length"]


def test_a_packs_sampling_decides_greedy_or_not(pair, invoke, tmp_path):
    folder = tmp_path / "suites" / "packs"
    folder.mkdir(parents=True)
    (folder / "warm.yaml").write_text("suites:\n  - {name: aime24, sampling: {temperature: 0.6}}\n")
    files = pair([{"name": "aime24", "partial_data": True}], pack="warm", suite_folders=[str(tmp_path / "suites")])
    (suite,) = json.loads(invoke("plan", *files, *FEW, "--json").out)["suites"]
    assert min(suite["repeats"]) > 1
    plain = pair([{"name": "aime24", "partial_data": True}])
    (greedy,) = json.loads(invoke("plan", *plain, *FEW, "--json").out)["suites"]
    assert greedy["repeats"] == [1, 1]


JUDGED = {"name": "mmvet_v2", "repeats": 2, "margin_pt": 5, "sampling": {"temperature": 0.6}}
JUDGE = {"base_url": "http://127.0.0.1:9/v1", "model": "m", "repeats": 3, "noise_items": 100}


@pytest.mark.parametrize(
    ("theirs", "limit", "calls"),
    [
        ({}, None, 3 * (517 * 4 + 100)),
        ({"limits": {"concurrency": 2}}, None, 3 * (517 * 4 + 100)),  # the same judge, asked more slowly
        ({"model": "another"}, None, 3 * (517 * 4 + 200)),
        ({"repeats": 1, "noise_items": 0}, None, 3 * (517 * 2 + 100) + 517 * 2),
        ({}, 40, 3 * (40 * 4 + 40)),
    ],
)
def test_the_calls_of_a_judge_are_counted(endpoint, config, invoke, theirs, limit, calls):
    files = (
        config("ref", endpoint.url, [JUDGED], judge=JUDGE),
        config("cand", endpoint.url, [JUDGED], judge=JUDGE | theirs),
    )
    limited = [*(["--limit", limit] if limit else []), "--anyway"]  # two judges make a comparison INVALID
    (suite,) = json.loads(invoke("plan", *files, *FEW, *limited, "--json").out)["suites"]
    assert suite["judge_calls"] == calls
    shown = " ".join(invoke("plan", *files, *FEW, *limited).out.split())
    assert shown.count(f"at most {calls:,} judge calls") == 2, "for the suite, and in all"
    assert suite["judge_tokens"] > calls * (suite["answer_tokens"] + 500)
    assert "tokens to read)" in shown
    assert not endpoint.requests


def test_a_suite_that_lacks_its_judge_is_not_planned(endpoint, config, invoke):
    suites = [JUDGED, {**MANY, "margin_pt": 5}]
    bare = config("ref", endpoint.url, suites), config("cand", endpoint.url, suites)
    done = invoke("plan", *bare, *FEW, "--json")
    document = json.loads(done.out)
    assert (done.code, [one["suite"] for one in document["suites"]]) == (0, ["mmlu_gen_5shot"])
    assert document["suites"][0]["judge_calls"] == 0
    assert "judge calls" not in invoke("plan", *bare, *FEW).out
    for name in ("ref", "cand"):
        assert f"{name}: MM-Vet v2 is not run: it needs a judge; name one under `judge:`" in done.err
    judged = config("ref", endpoint.url, suites, judge=JUDGE)
    refused = invoke("plan", judged, bare[1])
    assert refused.code == 2
    assert "only the reference runs this suite (mmvet_v2)" in " ".join(refused.err.split())
    one_sided = invoke("plan", judged, bare[1], *FEW, "--json", "--anyway")
    assert one_sided.code == 4
    assert json.loads(one_sided.out)["problems"] == ["mmvet_v2: only the reference runs this suite: INVALID"]


def test_items_that_no_description_names_are_asked_for(pair, invoke):
    for text in ("many", "=5", "mmlu_gen_5shot=0"):
        done = invoke("plan", *pair([MANY]), "--items", text)
        assert done.code == 2, text


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--items", "mmlu_gen_5shott=10"), "'mmlu_gen_5shott': no such suite is planned; planned are mmlu_gen_5shot"),
        (("--tokens-per-second", "nan"), "nan is no number"),
        (("--tokens-per-answer", "inf"), "is not in the range"),
    ],
)
def test_numbers_that_would_plan_nothing_are_mistakes(pair, invoke, options, sentence):
    done = invoke("plan", *pair([MANY]), *options)
    assert done.code == 2
    assert sentence in " ".join(done.err.split())
