"""What the operators that ran say of a comparison: CUDA against CUDA is INVALID, FlagOS without proof is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from compare_factory import shifted, side, suite

from evalkit.compare.operators import n_operators
from evalkit.judging import Case, judged
from evalkit.model import Verdict
from evalkit.options import JudgeOptions
from evalkit.render.words import say

ON, OFF = {"flagos": "on"}, {"flagos": "off"}


def made(reference, candidate, *, of_one=False):
    scores = shifted(400, 2, 2)
    sides = [side(name, suite(one)) for name, one in zip(("ref", "cand"), scores, strict=True)]
    told = zip(sides, (reference, candidate), strict=True)
    one, two = (replace(side, identity=replace(side.identity, endpoint=endpoint)) for side, endpoint in told)
    return judged(Case((one, two), (), Path("runs/x"), of_one=of_one), JudgeOptions()).comparison


def claimed(comparison):
    return [say(note) for note in comparison.notes if note.code.startswith("claims.operators")]


def test_a_flagos_candidate_whose_operators_ran_is_judged_and_says_so():
    found = made({**OFF, "operators": "0"}, {**ON, "operators": "2: add, mm"})
    assert found.verdict is Verdict.EQUIVALENT
    assert claimed(found) == ["cand ran 2 operators of FlagGems, ref 0."]
    assert claimed(made({}, {**ON, "operators": "2: add, mm"})) == ["cand ran 2 operators of FlagGems."]


def test_an_empty_list_is_cuda_against_cuda():
    found = made(OFF, {**ON, "operators": "0"})
    assert found.verdict is Verdict.INVALID
    assert "CUDA is compared with CUDA" in say(found.suites[0].reasons[0])


@pytest.mark.parametrize("reference", [{**OFF, "operators": "1: mm"}, {"operators": "1: mm"}])
def test_the_references_list_is_no_candidates(reference):
    found = made(reference, {**ON, "operators": "1: mm"})
    assert found.verdict is Verdict.INVALID
    assert "are those of ref" in say(found.suites[0].reasons[0])


def test_two_stacks_that_are_both_meant_to_be_flagos_may_run_the_same():
    assert made({**ON, "operators": "1: mm"}, {**ON, "operators": "1: mm"}).verdict is Verdict.EQUIVALENT
    assert made({"operators": "1: mm"}, {"operators": "1: mm"}, of_one=True).verdict is Verdict.EQUIVALENT


def test_flagos_without_proof_is_said():
    found = made(OFF, {**ON, "operators_absent": "no list is at /tmp/x"})
    assert found.verdict is Verdict.EQUIVALENT
    assert claimed(found) == ["That FlagOS was active on cand is not proven: no list is at /tmp/x."]
    assert claimed(made({}, ON)) == ["That FlagOS was active on cand is not proven."]
    assert claimed(made(OFF, OFF)) == claimed(made({}, {})) == []


def test_the_number_of_operators_is_read_from_whatever_is_stored():
    run = made({}, {}).candidate
    numbers = [n_operators(replace(run, endpoint={"operators": text})) for text in ("12: a", "0", "", "many: a")]
    assert numbers == [12, 0, None, None]
