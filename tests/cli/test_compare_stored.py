"""Stored sides from the command line: tables, lm-eval folders, banks, second runs, flips; every mistake and exit code."""

import json
import random
import re
import subprocess
import sys
from collections import Counter

import pytest
from reasons import told_in

from evalkit.publish.archive import EARLIER, home_of
from evalkit.run.repair import read_run

MANY = {"name": "mmlu_gen_5shot", "partial_data": True, "margin_pt": 10}


def column(right, wrong):
    return [[1.0]] * right + [[0.0]] * wrong


def test_two_tables_are_judged_and_stored(table, invoke, tmp_path):
    done = invoke(
        "compare", table("ref", {"quiz": column(150, 150)}), table("cand", {"quiz": column(149, 151)}), "--json"
    )
    document = json.loads(done.out)
    assert (done.code, document["verdict"], document["exit_code"]) == (0, "EQUIVALENT", 0)
    assert (tmp_path / "ref--cand" / "comparison.json").read_text() == done.out
    assert document["reference"]["name"] == "ref"


@pytest.mark.parametrize(
    ("candidate", "options", "code", "verdict"),
    [
        (column(100, 200), (), 1, "DEGRADED"),
        (column(200, 100), (), 1, "ELEVATED"),
        (column(150, 150)[:250], (), 3, "INVALID"),
        (column(144, 156), (), 4, "INCONCLUSIVE"),
        (column(144, 156), ("--on-inconclusive", "warn"), 0, "INCONCLUSIVE"),
        (column(144, 156), ("--on-inconclusive", "pass"), 0, "INCONCLUSIVE"),
        (column(144, 156), ("--margin", "5"), 0, "EQUIVALENT"),
        (column(144, 156), ("--margin", "quiz=5", "--margin", "1"), 0, "EQUIVALENT"),
        (column(100, 200), ("--on-inconclusive", "pass"), 1, "DEGRADED"),
    ],
)
def test_exit_codes(table, invoke, candidate, options, code, verdict):
    done = invoke("compare", table("ref", {"quiz": column(150, 150)}), table("cand", {"quiz": candidate}), *options)
    assert done.code == code
    assert verdict in done.out
    assert ("warning: INCONCLUSIVE is no pass" in done.err) is ("warn" in options)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--margin", "quizz=3"), "--margin quizz=...: no such suite is compared: did you mean 'quiz'?"),
        (("--margin", "=5"), "'=5' names no suite before the ="),
        (("--probe",), "--probe: has no effect here"),
        (("--margin", "much"), "'much' is not POINTS or SUITE=POINTS"),
        (("--margin", "0"), "is not between 0 and 100"),
        (("--flips", "some"), "'some' is neither a number nor `all`"),
        (("--set", "a=b"), "--set: has no effect here"),
        (("--limit", "5"), "--limit: has no effect here"),
        (("--rerun-on-fail",), "--rerun-on-fail: has no effect here"),
        (("--headline", "mean"), "--headline mean: say micro or macro"),
        (("--headline", "micro"), "--headline: has no effect here: no item has a stratum"),
        (("--headline", "quiz=macro"), "--headline quiz=...: has no effect here: no item of quiz has a stratum"),
        (("--headline", "quizz=macro"), "--headline quizz=...: no such suite is compared: did you mean 'quiz'?"),
        (("--include-questions",), "--include-questions: has no effect here: neither side holds questions"),
        (("--filter", "maj"), "--filter: has no effect on score tables: it is about output folders of lm-eval"),
        (("--metric", "quiz=acc"), "--metric: has no effect on score tables: it is about output folders of lm-eval"),
        (("--dates", "latest"), "--dates: has no effect on score tables: it is about output folders of lm-eval"),
        (("--pack", "nightli"), "did you mean 'nightly'?"),
        (("--pack", "nightly"), "--pack nightly: has no effect here: it gives no tolerance for quiz (only for mmlu"),
    ],
)
def test_mistakes_are_usage_errors(table, invoke, options, sentence):
    path = table("ref", {"quiz": column(20, 20)})
    done = invoke("compare", path, table("cand", {"quiz": column(20, 20)}), *options)
    assert done.code == 2
    assert sentence in done.err


@pytest.mark.parametrize(
    "option", [("--filter", "x"), ("--metric", "x"), ("--dates", "latest"), ("--headline", "micro")]
)
def test_choices_about_files_of_others_have_no_effect_on_runs(invoke, tmp_path, option):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.jsonl").write_text("{}\n")
    done = invoke("compare", tmp_path / "one", tmp_path / "two", *option)
    assert done.code == 2
    assert f"{option[0]}: has no effect on runs of evalkit's own: it is about " in done.err


def test_kinds_do_not_mix(table, invoke, tmp_path):
    path = table("ref", {"quiz": column(20, 20)})
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "samples_quiz_2026-01-01T00-00-00.jsonl").write_text("")
    done = invoke("compare", path, tmp_path / "out")
    assert done.code == 2
    assert "is a score table" in done.err
    assert "is an output folder of lm-eval" in done.err
    yaml = tmp_path / "cand.yaml"
    yaml.write_text("name: x")
    done = invoke("compare", path, yaml)
    assert done.code == 2
    assert "only a run folder of evalkit's can stand against a configuration file" in done.err


def test_tables_of_one_name_get_names_of_their_own(table, invoke, tmp_path):
    one = table("scores", {"quiz": column(30, 30)}, tmp_path / "h100")
    two = table("scores", {"quiz": column(30, 30)}, tmp_path / "npu")
    document = json.loads(invoke("compare", one, two, "--json", "--out", tmp_path / "here").out)
    assert (document["reference"]["name"], document["candidate"]["name"]) == ("h100-scores", "npu-scores")
    assert (tmp_path / "here" / "comparison.json").is_file()


def test_a_pack_gives_tolerances(table, invoke):
    sides = table("ref", {"musr": column(150, 150)}), table("cand", {"musr": column(150, 150)})
    margins = [
        json.loads(invoke("compare", *sides, "--json", *options).out)["suites"][0]["margin"]
        for options in ((), ("--pack", "nightly"), ("--pack", "nightly", "--margin", "7"))
    ]
    assert margins == [0.02, 0.05, 0.07]


def test_a_suite_that_the_pack_does_not_list_is_said(table, invoke):
    suites = {"musr": column(150, 150), "quiz": column(150, 150), "maths": column(150, 150)}
    sides = table("ref", suites), table("cand", suites)
    said = [
        f"the pack nightly gives no tolerance for {name}: it is judged against ±2 points" for name in ("quiz", "maths")
    ]
    done = invoke("compare", *sides, "--pack", "nightly")
    assert all(f"evalkit: {sentence}\n" in done.err for sentence in said)
    document = json.loads(invoke("compare", *sides, "--pack", "nightly", "--json").out)
    assert told_in(document["notes"]) == said
    for options in ((), ("--pack", "nightly", "--margin", "5")):
        assert json.loads(invoke("compare", *sides, "--json", *options).out)["notes"] == []
    one = json.loads(invoke("compare", *sides, "--json", "--pack", "nightly", "--margin", "quiz=3").out)["notes"]
    one = told_in(one)
    assert one == said[1:]


def test_behaviour_is_printed_where_it_says_something(table, invoke, tmp_path):
    rows = [{"suite": "q", "item": f"i{n}", "repeat": 0, "score": 0.0 if n % 2 else 1.0} for n in range(400)]
    broken = [{**row, "score": 0.0, "status": "refused"} if n < 12 else row for n, row in enumerate(rows)]
    for name, lines in (("ref", rows), ("cand", broken)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = invoke("compare", tmp_path / "ref.jsonl", tmp_path / "cand.jsonl")
    assert "refusals rose from 0.0 to 3.0 %" in " ".join(done.out.split())
    quiet = invoke("compare", tmp_path / "ref.jsonl", tmp_path / "ref.jsonl")
    assert "refusals" not in quiet.out


# ------------------------------------------------------------ flips


def test_flips_of_a_run_are_shown_side_by_side(endpoint, other_endpoint, config, invoke, tmp_path):
    good = other_endpoint.answer
    shared = "We look at every choice in turn, slowly and with care. " * 3
    endpoint.answer = lambda messages: shared + good(messages)
    other_endpoint.answer = lambda messages: (
        f"{shared}\x1b[2Jno idea" if len(messages[-1]["content"]) % 2 else shared + good(messages)
    )
    compared = invoke(
        "compare", config("ref", endpoint.url, [MANY]), config("cand", other_endpoint.url, [MANY]), "--quiet"
    )
    home = tmp_path / "runs" / "ref--cand"
    done = invoke("flips", home, "mmlu_gen_5shot", "-n", "3")
    assert done.code == 0
    assert compared.code in {1, 3}
    assert " ".join(done.out.split()).count("regressed 1 -> 0, evidence 2.8") == 3
    assert "the first" in done.out
    assert "\x1b[2J" not in done.out
    assert "\N{REPLACEMENT CHARACTER}[2Jno" in done.out
    document = json.loads(invoke("flips", home, "--json", "-n", "1", "--whole").out)
    assert document[0]["candidate_text"] == f"{shared}\x1b[2Jno idea"
    one = invoke("flips", home, "--item", document[0]["item"])
    assert one.out.count("evidence") == 1
    for name in ("ref", "cand"):
        (tmp_path / "runs" / name / "manifest.jsonl").unlink()
    stored = invoke("flips", home, "-n", "2")
    assert stored.out.count("evidence") == 2
    assert "showing what the comparison holds" in stored.err


def test_flips_of_a_suite_that_is_not_there(table, invoke, tmp_path):
    invoke("compare", table("ref", {"quiz": column(30, 30)}), table("cand", {"quiz": column(30, 30)}))
    done = invoke("flips", tmp_path / "ref--cand", "quit")
    assert done.code == 2
    assert "did you mean 'quiz'?" in done.err
    assert "no item of quiz changed" in invoke("flips", tmp_path / "ref--cand", "quiz").out


@pytest.mark.parametrize("first", [0, 1])
def test_repeats_count_from_zero_wherever_a_table_begins(invoke, tmp_path, first):
    for name, start in (("ref", 0), ("cand", first)):
        lines = [
            f"quiz,q{item},{start + repeat},{int((item, repeat, name) != (7, 2, 'cand'))}"
            for item in range(60)
            for repeat in range(4)
        ]
        (tmp_path / f"{name}.csv").write_text("\n".join(["suite,item,repeat,score", *lines]) + "\n")
    assert invoke("compare", tmp_path / "ref.csv", tmp_path / "cand.csv", "--margin", "20").code == 0
    assert "item q7, repeat 2: regressed" in invoke("flips", tmp_path / "ref--cand").out
    assert json.loads(invoke("flips", tmp_path / "ref--cand", "--json").out)[0]["repeat"] == 2
    assert invoke("aa", tmp_path / "cand.csv", "--margin", "20").code == 0


# ------------------------------------------------------------ banks, second runs


def test_a_stored_bank_stands_against_a_configuration(endpoint, other_endpoint, config, invoke, tmp_path):
    ref = config("ref", endpoint.url, [MANY, "aime24"])
    assert invoke("run", ref, "--quiet").code == 0
    endpoint.close()
    cand = config("cand", other_endpoint.url, [MANY])
    done = invoke("compare", tmp_path / "runs" / "ref", cand, "--json", "--quiet", "--no-doctor")
    document = json.loads(done.out)
    assert (done.code, [suite["suite"] for suite in document["suites"]]) == (0, ["mmlu_gen_5shot"])
    table = " ".join(
        invoke("compare", tmp_path / "runs" / "ref", cand, "--quiet", "--no-doctor", "--stored").out.split()
    )
    asked = "only the items asked are claimed, not the whole: what strikes items that were left out is not seen"
    assert asked in table
    assert "has judged" not in table  # it is the bank's first
    other = config("cand2", other_endpoint.url, [MANY])
    second = invoke("compare", tmp_path / "runs" / "ref", other, "--json", "--quiet", "--no-doctor")
    (claim,) = (note for note in json.loads(second.out)["notes"] if note["code"] == "claims.bank")
    assert claim["values"]["n"] == 2
    assert claim["values"]["chance"] == pytest.approx(1 - 0.95**2)
    stored = " ".join(
        invoke("compare", tmp_path / "runs" / "ref", other, "--quiet", "--no-doctor", "--stored").out.split()
    )
    assert "This reference has judged 2 candidates: were each of them just at its margin, one at least would" in stored
    assert (asked in stored, "--alpha 0.025 keeps that below 5.0 %" in stored) == (True, True)
    refused = invoke("compare", ref, cand, "--quiet", "--no-doctor")
    assert (refused.code, refused.out) == (2, "")
    assert "only the reference runs this suite (aime24)" in refused.err
    again = invoke("compare", ref, cand, "--json", "--quiet", "--no-doctor", "--anyway")
    assert (
        json.loads(again.out)["verdict"] == "INVALID"
    )  # the candidate did not run all that the reference's file names
    assert {difference["key"] for difference in document["differences"]} >= {"base_url", "suites.aime24"}


def sampled(name, repeats=4):
    return [{"name": name, "repeats": repeats, "partial_data": True, "margin_pt": 30}]


def noisy(seed):
    """An endpoint whose answers vary with the request's seed, right two times out of three."""

    def spoil(body, _number):
        lucky = random.Random(f"{seed}|{body['seed']}|{body['messages'][-1]['content']}").random() < 0.66
        text = body["messages"][-1]["content"]
        hint = text.partition("(hint ")[2].partition(")")[0]
        reply = f"\\boxed{{{hint if lucky else 999}}}"
        usage = {"prompt_tokens": len(text) // 4, "completion_tokens": 5}
        choice = {"index": 0, "message": {"role": "assistant", "content": reply}, "finish_reason": "stop"}
        return 200, {"id": "x", "model": "loopback", "choices": [choice], "usage": usage}

    return spoil


def test_a_bank_allots_a_candidates_repeats_by_item(endpoint, other_endpoint, config, invoke, tmp_path):
    """Half of the questions are always right in the bank, so that fewer answers say as much."""

    def spoil(seed):
        drawn = noisy(seed)
        return lambda body, number: (
            drawn(body, number) if random.Random(body["messages"][-1]["content"]).random() < 0.5 else None
        )

    endpoint.spoil, other_endpoint.spoil = spoil("a"), spoil("b")
    endpoint.answer = other_endpoint.answer = lambda messages: (
        f"\\boxed{{{messages[-1]['content'].partition('(hint ')[2].partition(')')[0]}}}"
    )
    sampling, bank = {"temperature": 0.7}, tmp_path / "runs" / "ref"
    ref = config("ref", endpoint.url, sampled("aime24", 16), sampling=sampling)
    cand = config("cand", other_endpoint.url, sampled("aime24", 8), sampling=sampling, bank=str(bank))
    early = invoke("compare", ref, cand, "--quiet", "--no-doctor")
    assert (early.code, "is no run folder" in early.err) == (2, True)
    assert invoke("run", ref, "--quiet").code == 0
    planned = json.loads(invoke("plan", ref, cand, "--json", "--comparisons", "100").out)["suites"][0]["samples"]
    done = invoke("compare", bank, cand, "--json", "--quiet", "--no-doctor")
    (suite,) = json.loads(done.out)["suites"]
    counts = Counter(body["messages"][-1]["content"] for body in other_endpoint.requests)
    assert (suite["verdict"], suite["coverage"]) == ("EQUIVALENT", 1.0)
    assert planned == [0, len(other_endpoint.requests)] == [0, suite["candidate"]["planned"]]
    assert len(other_endpoint.requests) < 0.8 * 30 * 8
    assert min(counts.values()) < 4 < 8 <= max(counts.values())
    again = invoke("compare", bank, cand, "--json", "--quiet", "--no-doctor", "--stored")
    assert json.loads(again.out)["suites"][0]["difference"] == suite["difference"]
    assert len(other_endpoint.requests) == suite["candidate"]["planned"]


def test_an_endpoint_against_itself_gives_the_noise_floor(endpoint, other_endpoint, config, invoke, tmp_path):
    endpoint.spoil = noisy("a")
    other_endpoint.spoil = noisy("a")
    sampling = {"temperature": 0.7}
    ref = config("ref", endpoint.url, sampled("aime24"), sampling=sampling)
    done = invoke("aa", ref, "--json", "--quiet")
    document = json.loads(done.out)
    assert done.code in {0, 4}
    assert len(endpoint.requests) == 2 * 30 * 4
    assert len({body["seed"] for body in endpoint.requests}) == 2 * 30 * 4
    assert (document["reference"]["name"], document["candidate"]["name"]) == ("ref", "ref-aa")
    assert (home_of(tmp_path / "runs", "ref") / "comparison.json").is_file()
    cand = config("cand", other_endpoint.url, sampled("aime24"), sampling=sampling)
    compared = json.loads(invoke("compare", ref, cand, "--json", "--quiet", "--no-doctor", "--stored").out)
    (suite,) = compared["suites"]
    (own,) = document["suites"]
    floor = suite["noise_floor"]
    assert floor == own["ci90"]
    assert any("`evalkit aa` of" in note for note in told_in(suite["notes"]))
    assert len(endpoint.requests) == 2 * 30 * 4  # nothing was asked again
    halves = invoke("aa", tmp_path / "runs" / "ref", "--json")
    assert json.loads(halves.out)["candidate"]["name"] == "ref-odd"
    for more, asked in ((("--set", "sampling.temperature=0.9"), "--stored"), ((), "--again")):
        anew = invoke("compare", ref, cand, "--json", "--quiet", "--no-doctor", asked, *more)
        floor = json.loads(anew.out)["suites"][0]["noise_floor"]
        assert floor != own["ci90"], "of another run, or of other settings, aa said nothing"


def test_a_harness_that_differs_from_itself_makes_comparisons_invalid(
    endpoint, other_endpoint, config, invoke, tmp_path
):
    ref = config("ref", endpoint.url, [MANY])
    assert invoke("run", ref, "--quiet").code == 0
    endpoint.answer = lambda _messages: "I lost my way."
    assert invoke("aa", ref, "--quiet", "--stored").code in {1, 3}
    done = invoke("compare", ref, config("cand", other_endpoint.url, [MANY]), "--quiet", "--no-doctor", "--stored")
    assert done.code == 3
    assert "the reference" in done.out


def test_halves_need_repeats(endpoint, config, invoke, tmp_path):
    assert invoke("run", config("ref", endpoint.url, [MANY]), "--quiet").code == 0
    done = invoke("aa", tmp_path / "runs" / "ref")
    assert done.code == 2
    assert "asked every item once: there are no halves" in done.err


@pytest.mark.parametrize(("twice", "code"), [(True, 1), (False, 0)])
def test_a_night_that_is_not_equivalent_is_asked_again_and_judged_by_all_answers(
    endpoint, other_endpoint, config, invoke, tmp_path, twice, code
):
    """At first one answer in two, or one in seven, is wrong; the second run answers as the reference does, or not."""
    share = 2 if twice else 7
    bad = 200, {"choices": [{"message": {"content": "\\boxed{999}"}, "finish_reason": "stop"}]}
    spoilt = lambda number: number % share == 0 and (twice or number <= 120)  # noqa: E731
    other_endpoint.spoil = lambda body, number: bad if "boxed" in str(body["messages"]) and spoilt(number) else None
    suites = [{"name": "aime24", "repeats": 4, "partial_data": True, "margin_pt": 15}, {**MANY, "margin_pt": 20}]
    sampling = {"temperature": 0.7}
    ref = config("ref", endpoint.url, suites, sampling=sampling)
    cand = config("cand", other_endpoint.url, suites, sampling=sampling)
    judged = "--overall-margin", "40"  # the mean is in no doubt: the suite is
    done = invoke("compare", ref, cand, "--rerun-on-fail", *judged, "--quiet", "--json", "--no-doctor")
    document = json.loads(done.out)
    shown = "DEGRADED" if twice else "INCONCLUSIVE"
    assert f"{shown}: aime24: asking the candidate again with other seeds" in done.err
    assert (done.code, document["exit_code"]) == (code, code)
    suite = next(one for one in document["suites"] if one["suite"] == "aime24")
    assert (suite["k_reference"], suite["k_candidate"]) == (4, 8)
    assert ("no other verdict" if twice else "EQUIVALENT with") in told_in(suite["reasons"])[-1]
    assert any("not EQUIVALENT at first: AIME 2024" in note for note in told_in(document["notes"]))
    asked = [body for body in other_endpoint.requests if "boxed" in str(body["messages"])]
    assert len(asked) == 240
    assert len({body["seed"] for body in asked}) == 240
    runs = tmp_path / "runs" / "ref", tmp_path / "runs" / "cand"
    assert read_run(runs[1]).suites["aime24"].facts.repeats == 4  # the folder's present meaning is the first run
    for sides in (runs, (runs[0], cand), (ref, cand, "--stored"), (ref, cand, "--stored", "--rounds", 3)):
        done = invoke("compare", *sides, *judged, "--quiet", "--no-doctor")
        assert done.code == 2, "one look more at the full alpha"
        assert "runs/cand: its answers were looked at in a night" in done.err
        assert "--rerun-on-fail" in done.err
    assert len([body for body in other_endpoint.requests if "boxed" in str(body["messages"])]) == 240


def another(model, after, wrong=0):
    """Answers of one text, under another name after so many; the first `wrong` of them are wrong."""

    def spoil(body, number):
        right = re.findall(r"hint (\w)", body["messages"][-1]["content"])
        text = f"Answer: {right[-1] if right and number > wrong else 'Z'}"
        said = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}]}
        return 200, {
            **said,
            "model": "loopback" if number <= after else model,
            "system_fingerprint": f"f{number > after}",
        }

    return spoil


@pytest.mark.parametrize("model", ["other", "loopback"])
def test_a_second_run_by_another_model_is_never_judged_with_the_first(endpoint, other_endpoint, config, invoke, model):
    """By the rule of one run: another name is INVALID, another build of the one model is said."""
    suites = [{**MANY, "margin_pt": 20}]
    ref, cand = config("ref", endpoint.url, suites), config("cand", other_endpoint.url, suites)
    other_endpoint.spoil, endpoint.spoil = another(model, 60, wrong=9), another(model, 60, wrong=2)
    night = invoke(
        "compare", ref, cand, "--rerun-on-fail", "--overall-margin", "40", "--quiet", "--json", "--no-doctor"
    )
    assert "asking the candidate again" in night.err
    noise = invoke("aa", ref, "--quiet", "--json", "--stored")
    for done, name in ((night, "cand"), (noise, "ref")):
        document = json.loads(done.out)
        said = told_in(document["suites"][0]["reasons"] if model == "other" else document["notes"])
        if model == "other":
            assert (document["verdict"], done.code) == ("INVALID", 3)
            told = (
                f"{name}: another model answered its second run: loopback (60) in the first, other (60) in the second"
            )
        else:
            assert document["verdict"] != "INVALID"
            told = f"{name}: its answers carry several system fingerprints, fFalse (60), fTrue (60)"
        assert any(one.startswith(told) for one in said), said


def test_a_stored_candidate_cannot_be_asked_again(endpoint, config, invoke, tmp_path):
    assert invoke("run", config("cand", endpoint.url, [MANY]), "--quiet").code == 0
    done = invoke("compare", config("ref", endpoint.url, [MANY]), tmp_path / "runs" / "cand", "--rerun-on-fail")
    assert done.code == 2
    assert "runs/cand is a stored run: only what has a YAML file can be asked again" in done.err


def test_a_comparison_of_stored_runs_loads_little(endpoint, other_endpoint, config, invoke, tmp_path):
    """Half of its second would go into modules that it does not use; pyarrow reads the runs' tables."""
    reference = config("ref", endpoint.url, suites=[MANY])
    candidate = config("cand", other_endpoint.url, suites=[MANY])
    for path in (reference, candidate):
        assert invoke("run", path, "--quiet").code == 0
    script = (
        "import sys\nfrom click.testing import CliRunner\nfrom evalkit.cli.app import cli\n"
        f"done = CliRunner().invoke(cli, ['compare', {str(tmp_path / 'runs' / 'ref')!r},"
        f" {str(tmp_path / 'runs' / 'cand')!r}], standalone_mode=False)\n"
        "assert done.exception is None, done.exception\nassert 'quiz' in done.output or 'MMLU' in done.output\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "evalkit.compare.judge" in loaded
    unused = {"scipy", "pydantic", "yaml", "numpy.ma", "jinja2", "lm_eval", "aiohttp", "asyncio", "pandas"}
    unused |= {"pyarrow.dataset", "pyarrow.compute", "pyarrow.pandas_compat"}
    assert loaded & unused == set()


def test_a_machine_that_always_probes_compares_tables_all_the_same(table, run_evalkit):
    pair = table("ref", {"quiz": column(150, 150)}), table("cand", {"quiz": column(149, 151)})
    done = run_evalkit("compare", *pair, env={"EVALKIT_PROBE": "1"})
    assert done.returncode == 0, done.stderr
    refused = run_evalkit("compare", *pair, "--probe", env={"EVALKIT_PROBE": "1"})
    assert "--probe: has no effect here" in refused.stderr


def test_an_earlier_comparison_is_kept_under_its_date(table, invoke, tmp_path):
    one, two = table("ref", {"quiz": column(150, 150)}), table("cand", {"quiz": column(149, 151)})
    first = invoke("compare", one, two)
    assert "is kept as" not in first.err
    assert "it compares ref (run " in first.err
    folder = tmp_path / "ref--cand"
    before = (folder / "comparison.json").read_bytes()
    again = invoke("compare", one, two)  # the same evidence, said again
    assert "is kept as" not in again.err
    assert [path.name for path in folder.iterdir()] == ["comparison.json"]
    before = (folder / "comparison.json").read_bytes()
    changed = invoke("compare", one, two, "--margin", "5")
    (kept,) = (path for path in folder.iterdir() if path.name != "comparison.json")
    assert f"the earlier comparison in this folder is kept as {kept.name}" in changed.err
    assert kept.read_bytes() == before
    assert json.loads((folder / "comparison.json").read_text())["suites"][0]["margin"] == 0.05
    invoke("compare", one, two, "--margin", "6")
    assert len(list(folder.iterdir())) == 3
    assert invoke("flips", kept).code == 0  # what is kept is a comparison like any other


def test_of_the_earlier_comparisons_the_newest_are_kept(table, invoke, tmp_path):
    one, two = table("ref", {"quiz": column(150, 150)}), table("cand", {"quiz": column(149, 151)})
    invoke("compare", one, two)
    folder = tmp_path / "ref--cand"
    dates = [f"2026{month:02}{day:02}T010203" for month in (1, 2) for day in range(1, 29)]
    old = [f"comparison-{date}.json" for date in (*dates[:-EARLIER], *dates[-EARLIER:])]
    theirs = ["comparison-before-the-upgrade.json", "comparison-20250101T010203.json.bak", "comparison-20250101.json"]
    theirs += ["my-comparison-20250101T010203.json", "comparison-20250101T010203-02.json", "probe.json"]
    for name in (*old, *theirs, "comparison-earlier.json", "comparison-20260101T010203-2.json"):
        (folder / name).write_text("{}")
    (folder / "comparison-20240101T010203.json").mkdir()
    (folder / "comparison-20240102T010203.json").symlink_to(one)
    theirs += ["comparison-20240101T010203.json", "comparison-20240102T010203.json", "comparison.json"]
    done = invoke("compare", one, two, "--margin", "5")
    (now,) = re.findall(r"is kept as (\S+)", done.err)
    left = {path.name for path in folder.iterdir()}
    assert left == {*theirs, now, *old[-EARLIER + 1 :]}
    assert (
        "evalkit: removed comparison-earlier.json, comparison-20260101T010203.json, comparison-20260101T010203-2"
        in done.err
    )
    assert f": a folder keeps {EARLIER} earlier comparisons" in done.err
    again = invoke("compare", one, two, "--margin", "6")
    assert f"evalkit: removed {old[-EARLIER + 1]}: a folder" in again.err
    assert "removed" not in invoke("compare", one, two, "--margin", "6").err


def test_an_earlier_comparison_without_a_date_is_kept(table, invoke, tmp_path):
    one, two = table("ref", {"quiz": column(150, 150)}), table("cand", {"quiz": column(149, 151)})
    folder = tmp_path / "ref--cand"
    folder.mkdir()
    for number, text in enumerate((b"{}", b'{\n"created": "../../x"\n}', b"\xff"), 1):
        (folder / "comparison.json").write_bytes(text)
        invoke("compare", one, two)
        name = f"comparison-earlier{f'-{number}' if number > 1 else ''}.json"
        assert (folder / name).read_bytes() == text


def test_failures_are_told_by_kind_in_the_words_of_run_and_compare(endpoint, other_endpoint, config, invoke, tmp_path):
    other_endpoint.spoil = lambda _body, number: (400, {"error": {"message": "no"}}) if number % 6 == 0 else None
    reference, candidate = config("ref", endpoint.url, suites=[MANY]), config("cand", other_endpoint.url, suites=[MANY])
    assert invoke("run", reference, "--quiet").code == 0
    run = invoke("run", candidate, "--quiet")
    assert run.code == 3
    (told,) = re.findall(r"failed \d+ \(bad_request \d+\)", run.out)
    done = invoke("compare", tmp_path / "runs" / "ref", tmp_path / "runs" / "cand", "--json")
    document = json.loads(done.out)
    assert done.code == 3
    why = f"HTTP 400 from {other_endpoint.url}/chat/completions: no"
    assert told_in(document["suites"][0]["reasons"]) == [f"candidate: 50 of 60 have a score ({told}): {why}"]


def test_a_run_whose_last_session_asked_less_says_so(endpoint, other_endpoint, config, invoke, tmp_path):
    reference, candidate = config("ref", endpoint.url, suites=[MANY]), config("cand", other_endpoint.url, suites=[MANY])
    for path in (reference, candidate):
        assert invoke("run", path, "--quiet").code == 0
    assert invoke("run", candidate, "--limit", "30", "--quiet").code == 0
    done = invoke("compare", tmp_path / "runs" / "ref", tmp_path / "runs" / "cand")
    assert (
        "cand: what its last session asked is compared, less than an earlier one asked (mmlu_gen_5shot 30 items"
        in done.err
    )
    assert invoke("run", candidate, "--quiet").code == 0
    assert "last session" not in invoke("compare", tmp_path / "runs" / "ref", tmp_path / "runs" / "cand").err


def test_a_table_by_another_ending_is_the_file_that_is_named(invoke, tmp_path):
    for name in ("ref.csv", "cand.txt"):
        (tmp_path / name).write_text("suite,item,repeat,score\nquiz,q1,0,1\n")
    done = invoke("compare", tmp_path / "ref.csv", tmp_path / "cand.txt")
    assert done.code == 2
    assert "cand.txt: a score table ends in .csv, .jsonl or .parquet" in " ".join(done.err.split())


def test_a_side_against_itself_is_a_mistake(invoke, tmp_path):
    (tmp_path / "ref.csv").write_text("suite,item,repeat,score\nquiz,q1,0,1\n")
    done = invoke("compare", tmp_path / "ref.csv", tmp_path / "ref.csv")
    assert done.code == 2
    assert "both sides are the same" in done.err


@pytest.mark.parametrize("option", [("--dates", "latest"), ("--filter", "x"), ("--metric", "acc")])
def test_options_about_other_programs_files_are_named_whole_with_endpoints(invoke, tmp_path, option):
    pair = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    for path in pair:
        path.write_text("name: x\n")
    done = invoke("compare", *pair, *option)
    assert (done.code, done.err) == (2, f"evalkit: {option[0]}: has no effect on runs of evalkit's own\n")


def test_the_margin_of_the_mean_comes_from_the_files_and_is_refused_where_they_differ(
    endpoint, other_endpoint, config, run_evalkit
):
    suites = [MANY, {"name": "aime24", "repeats": 1, "partial_data": True, "margin_pt": 30}]
    ref = config("ref", endpoint.url, suites, overall={"margin_pt": 12})
    other = config("other", other_endpoint.url, suites, overall={"margin_pt": 15})
    refused = run_evalkit("compare", ref, other)
    told = " ".join(refused.stderr.split())
    assert (refused.returncode, len(endpoint.requests)) == (2, 0)
    why = (
        "the two sides name different margins for the mean over suites, 12 and 15 points: choose with --overall-margin"
    )
    assert f"{ref}:1 and {other}:1: {why}" in told
    cand = config("cand", other_endpoint.url, suites, overall={"margin_pt": 12})
    done = run_evalkit("compare", ref, cand, "--json", "--quiet", "--no-doctor")
    assert json.loads(done.stdout)["macro"]["margin"] == 0.12
    chosen = run_evalkit("compare", ref, other, "--json", "--quiet", "--no-doctor", "--overall-margin", "20")
    assert json.loads(chosen.stdout)["macro"]["margin"] == 0.2
