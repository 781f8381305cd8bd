"""The simulated error rates of the probe's rule, in small: what is drawn has the k3 that it should, and bars are held."""

from __future__ import annotations

import probe_rule
import pytest

from evalkit.examine.probe_report import BACKWARD, FORWARD, assess


@pytest.mark.parametrize("shape", ["stored", "heavy"])
def test_simulated_probes_have_the_k3_that_they_should_and_are_judged_so(shape):
    reports = [assess(probe_rule.simulated(shape, 9.5e-3, seed)) for seed in range(3)]
    for name in (FORWARD, BACKWARD):
        found = sum(report.comparisons[name].k3.point for report in reports) / 3
        assert found == pytest.approx(9.5e-3, rel=0.25)
    assert {report.verdict.value for report in reports} == {"DEGRADED"}
    assert assess(probe_rule.simulated(shape, 1.2e-3, 0)).verdict.value == "EQUIVALENT"


def test_a_share_beyond_its_bar_is_named():
    found = [("EQUIVALENT", False, ())] * 9 + [("DEGRADED", True, ("probe.worst_text",))]
    line, missed = probe_rule.row("heavy", 1.2e-3, found)
    assert line == "| heavy | 0.0012 | 90.0% | 0.0% | 10.0% | 10.0% | 10.0% |"
    assert missed == ["heavy 0.0012: EQUIVALENT 90.0%", "heavy 0.0012: stopped 10.0%"]
    assert probe_rule.row("heavy", 1.2e-3, found[:9])[1] == []


@pytest.mark.slow
@pytest.mark.parametrize("truth", probe_rule.TRUTHS)
def test_the_bars_are_held(truth):
    jobs = [("stored", truth, seed) for seed in range(60)]
    assert probe_rule.row("stored", truth, list(map(probe_rule.outcome, jobs)))[1] == []
