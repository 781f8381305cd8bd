"""The benchmark of grading's time leaves no scorer out, and no rule of LiveBench's."""

import grading
import pytest

from evalkit.model import Score
from evalkit.scoring.livebench import GRADERS, kind_of
from evalkit.scoring.registry import SCORERS


def test_every_scorer_that_reads_a_text_is_timed():
    assert {name for name, _ in grading.CASES} == set(SCORERS) - {"option_logprobs"}


def test_every_rule_of_livebench_is_timed():
    timed = {kind_of(document) for name, document in grading.CASES if name == "livebench"}
    assert {rule for kind in timed for rule in GRADERS[kind].values()} >= {
        rule for kinds in GRADERS.values() for rule in kinds.values() if "reformat_v2" not in rule
    }


@pytest.mark.parametrize("case", [case for case in grading.CASES if case[0] != "livebench"], ids=lambda case: case[0])
def test_a_case_is_one_that_its_scorer_reads(case):
    name, document = case
    assert isinstance(grading.read(name, document, "Answer: 1"), Score if name != "judged" else type(None))


def test_the_forms_hold_the_loop():
    cost = grading.cost("short", {"answer": "x"}, "box, open", r"\boxed{{{}}}", 700)
    assert cost.text == r"box, open in \boxed{...}"
    assert cost.seconds >= 0
