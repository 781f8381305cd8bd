"""The forest plot: a common scale, nothing outside it, ticks that people use."""

import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.model import Interval
from evalkit.render.html import Scale, scale_of


@given(st.floats(0.01, 500))
def test_ticks_are_few_round_symmetric_and_inside(reach):
    made = Scale(reach / 100).ticks()
    assert made == [-tick for tick in reversed(made)]
    assert 3 <= len(made) <= 7
    assert max(made) <= reach + 1e-6
    assert re.fullmatch(r"[125]0*", f"{made[len(made) // 2 + 1]:.9f}".replace(".", "").strip("0") or "1")


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.001, 0.2))
def test_every_position_is_inside_the_plot(comparison_suite, plot, a, b, margin):
    suite = replace(comparison_suite, ci90=Interval(min(a, b), max(a, b), 0.9), difference=(a + b) / 2, margin=margin)
    assert margin <= scale_of([suite]).reach <= 15 * margin + 1e-12
    scale = scale_of([suite, suite])
    assert margin <= scale.reach <= 3 * margin + 1e-12
    svg = ET.fromstring(plot("forest(suite, scale)", suite=suite, scale=scale))
    positions = [
        float(value[:-1])
        for node in svg.iter()
        for name in ("x", "x1", "x2")
        if (value := node.get(name, "")).endswith("%")
    ]
    assert positions
    assert all(0 <= position <= 100 for position in positions)


@pytest.fixture(scope="module")
def comparison_suite(example):
    return example.comparison().suites[0]


def test_rows_show_margin_noise_interval_and_verdict(comparison, plot):
    scale = scale_of(comparison.suites)
    by_name = {
        suite.suite: ET.fromstring(plot("forest(suite, scale)", suite=suite, scale=scale))
        for suite in comparison.suites
    }
    gpqa = by_name["gpqa_diamond"]
    assert [node.get("class") for node in gpqa.findall("rect")] == ["band", "noise"]
    band, noise = gpqa.findall("rect")
    assert float(band.get("width")[:-1]) > float(noise.get("width")[:-1])
    assert gpqa.find("g").get("class") == "mark EQUIVALENT"
    assert len(gpqa.findall("g/svg")) == 3  # two ends and the difference
    assert len(by_name["theoremqa"].findall("g/svg")) == 2, "a difference beyond the scale has no marker"
    assert by_name["livebench"].find("g") is None, "no interval, no mark"
    assert all("style" not in node.attrib for svg in by_name.values() for node in svg.iter()), (
        "the policy forbids style attributes"
    )


def test_axis_and_markers(comparison, plot):
    labels = [node.text for node in ET.fromstring(plot("axis(scale)", scale=scale_of(comparison.suites))).iter("text")]
    assert labels == ["-15", "-10", "-5", "0", "+5", "+10", "+15"]
    from evalkit.model import Verdict

    assert (
        len({ET.fromstring(plot("marker(name)", name=verdict.value)).find("g/path").get("d") for verdict in Verdict})
        == 5
    ), "a shape of its own"
    assert scale_of([]).reach > 0
