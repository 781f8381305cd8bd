"""Policies: margins and advisory suites decide, a rule of thumb is only shown, with how often it errs."""

import json
import math

import numpy as np
import pytest
from compare_factory import NOW, compared, many, side, suite
from reasons import told

from evalkit.compare.judge import compare
from evalkit.compare.validity import Policy
from evalkit.errors import UsageError
from evalkit.model import Status, Verdict
from evalkit.publish.known import waived
from evalkit.publish.policies import Rule, read_policy, ruled

CSV = "suite,item,repeat,score\n"


@pytest.fixture
def tables(tmp_path):
    """Two score tables of two suites; the candidate's second suite loses a quarter."""

    def rows(second):
        ones = [f"good,i{n},0,{n % 2}" for n in range(400)]
        return CSV + "\n".join([*ones, *(f"weak,i{n},0,{int(n % 4 < second)}" for n in range(400))])

    paths = tmp_path / "ref.csv", tmp_path / "cand.csv"
    for path, second in zip(paths, (2, 1), strict=True):
        path.write_text(rows(second))
    return paths


@pytest.fixture
def policy_file(tmp_path):
    def write(text):
        path = tmp_path / "policy.yaml"
        path.write_text(text)
        return path

    return write


def judged(invoke, tables, *options):
    done = invoke("compare", *tables, "--json", *options)
    return done, json.loads(done.out)


def test_an_advisory_suite_keeps_its_verdict_and_decides_nothing(invoke, tables, policy_file):
    _done, strict = judged(invoke, tables)
    assert (strict["verdict"], strict["macro"]["suites"]) == ("DEGRADED", 2)
    done, made = judged(invoke, tables, "--policy", policy_file("advisory: [weak]\n"))
    assert (done.code, made["verdict"], made["macro"]) == (0, "EQUIVALENT", None)
    weak = next(one for one in made["suites"] if one["suite"] == "weak")
    assert (weak["verdict"], weak["waiver"]["code"]) == ("DEGRADED", "policy.advisory")
    shown = invoke("compare", *tables, "--policy", policy_file("advisory: [weak]\n")).out
    assert "advisory: judged and shown" in " ".join(shown.split())


def test_an_advisory_suite_that_is_invalid_or_known_decides_nothing_either():
    one, two = many((400, 0, 0), (400, 0, 0))
    empty = side("candidate", two.suites["s0"], suite(np.zeros(400), "s1"))
    advisory = Policy(default_margin=0.05, advisory=frozenset({"s1"}))
    assert compare(one, empty, Policy(default_margin=0.05), NOW).verdict is Verdict.INVALID
    made = compare(one, empty, advisory, NOW)
    assert (made.verdict, made.suites[1].verdict) == (Verdict.EQUIVALENT, Verdict.INVALID)
    assert waived(made, (), lenient=False).exit_code == 0


def test_margins_of_a_policy_stand_below_those_of_the_command_line(invoke, tables, policy_file):
    policy = policy_file("margin_pt: 3\nmargins_pt: {weak: 40}\noverall_margin_pt: 30\n")
    _done, made = judged(invoke, tables, "--policy", policy)
    assert {one["suite"]: one["margin"] for one in made["suites"]} == {"good": 0.03, "weak": 0.4}
    assert (made["macro"]["margin"], made["verdict"]) == (0.3, "EQUIVALENT")
    _done, made = judged(invoke, tables, "--policy", policy, "--margin", "weak=4", "--overall-margin", "20")
    assert {one["suite"]: one["margin"] for one in made["suites"]} == {"good": 0.03, "weak": 0.04}
    assert made["macro"]["margin"] == 0.2
    _done, made = judged(invoke, tables, "--policy", policy, "--margin", "5")
    assert {one["margin"] for one in made["suites"]} == {0.05}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("advisory: [weka]\n", "policy.yaml:1: 'weka' is not compared: did you mean 'weak'?"),
        ("about: x\nmargins_pt:\n  wek: 3\n", "policy.yaml:3: 'wek' is not compared: did you mean 'weak'?"),
        ("advisory: [weak, good]\n", "names all suites that are compared: none would decide"),
        ("rule: {loss_pct: 5, loss_pt: 1}\n", "say one of loss_pct and loss_pt"),
        ("rule: {}\n", "say one of loss_pct and loss_pt"),
        ("margin_pt: 0\n", "policy.yaml:1: margin_pt: must be"),
        ("margins: {weak: 3}\n", "policy.yaml:1: unknown key 'margins'"),
    ],
)
def test_mistakes_name_file_line_and_key(invoke, tables, policy_file, text, sentence):
    done = invoke("compare", *tables, "--policy", policy_file(text))
    assert done.code == 2
    assert sentence in done.err


def test_a_policy_that_is_not_there(invoke, tables):
    done = invoke("compare", *tables, "--policy", "flagrelease-5")
    assert done.code == 2
    assert "did you mean 'flagrelease-5pct'?" in done.err


@pytest.mark.parametrize(("name", "loss"), [("flagrelease-5pct", 0.03), ("cts-2pct", 0.012)])
def test_a_rule_of_thumb_is_shown_and_changes_nothing(invoke, tables, name, loss):
    _done, plain = judged(invoke, tables)
    done, made = judged(invoke, tables, "--policy", name)
    assert {key: made[key] for key in ("verdict", "exit_code", "suites")} == {
        key: plain[key] for key in ("verdict", "exit_code", "suites")
    }
    codes = [note["code"] for note in made["notes"]]
    assert codes == ["policy.passes", "policy.fails", "policy.fails"]  # good, weak, overall
    assert f"{name} would pass good: 50.0 % against 50.0 %" in done.err
    assert read_policy(name)[0].rule.allowed(0.6) == pytest.approx(loss)


def test_what_a_rule_errs_is_what_exact_binomials_give():
    """Fifty questions asked once, sides that have nothing in common: the share of identical ones that the rule fails."""
    n, p, rng = 50, 0.6, np.random.default_rng(1)
    chance = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
    exact = sum(
        chance[one] * chance[two] for one in range(n + 1) for two in range(n + 1) if two < (1 - 0.05) * one - 1e-9
    )
    found = []
    for _ in range(60):
        one, two = ((rng.random(n) < p).astype(float) for _side in range(2))
        made = ruled(compared(suite(one), suite(two), Policy(default_margin=0.05)), "x", Rule(loss_pct=5))
        found += [note.values["alarms"] for note in made.notes if note.code.startswith("policy.")]
    assert len(found) == 60
    assert float(np.mean(found)) == pytest.approx(exact, abs=0.03)


def test_a_suite_without_an_interval_has_no_rule():
    lost = suite(np.ones(40), row=lambda _i, _r, row: {**row, "value": None, "status": Status.FAILED})
    made = ruled(compared(suite(np.ones(40)), lost), "x", Rule(loss_pt=5))
    assert not [note for note in made.notes if note.code.startswith("policy.")]


def test_points_are_points():
    assert Rule(loss_pt=5).allowed(0.3) == 0.05
    with pytest.raises(UsageError, match="none of cts-2pct, flagrelease-5pct"):
        read_policy("nothing-like-it")


def test_the_note_says_all_three_error_rates():
    made = ruled(compare(*many((400, 10, 0), (400, 10, 0)), Policy(default_margin=0.05), NOW), "x", Rule(loss_pct=5))
    sentence = told(made.notes)[-1]
    assert sentence.startswith(("x would pass overall: ", "x would fail overall: "))
    assert "of identical candidates and passes" in sentence
    assert "points worse" in sentence
