"""The three sentences: golden in both languages, and every turn they can take."""

import re
from dataclasses import replace

import pytest

from evalkit.errors import UsageError
from evalkit.model import Interval, NeededRepeats, Reason, Verdict, said
from evalkit.render.report import explain
from evalkit.render.rows import sentences
from evalkit.render.words import LANGUAGES


@pytest.mark.parametrize("language", LANGUAGES)
def test_golden(comparison, golden, language):
    golden(f"explain.{language}.txt", explain(comparison, language=language))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("verdict", list(Verdict))
def test_the_overall_sentence_is_its_own_for_each_verdict(comparison, language, verdict):
    made = replace(comparison, verdict=verdict)
    others = {explain(replace(comparison, verdict=v), language=language).splitlines()[0] for v in Verdict}
    assert len(others) == 5
    assert explain(made, language=language).splitlines()[0] in others


@pytest.mark.parametrize("verdict", [Verdict.EQUIVALENT, Verdict.DEGRADED, Verdict.ELEVATED])
def test_only_a_comparison_with_an_overall_row_speaks_of_the_mean(example, verdict):
    several = replace(example.clean(), verdict=verdict)
    assert "the mean over 2" in explain(several).splitlines()[0]
    alone = replace(several, suites=several.suites[:1], macro=None)
    assert "mean" not in explain(alone).splitlines()[0]


def test_one_suite_by_name_and_an_unknown_one(comparison):
    text = explain(comparison, "musr")
    assert text.startswith("MuSR 多步推理: DEGRADED\n")
    assert "between 5.2 and 9.0 points worse" in text
    with pytest.raises(UsageError, match="did you mean 'musr'"):
        explain(comparison, "mursr")


@pytest.mark.parametrize(("language", "head"), [("en", " (30 of 756 items): "), ("zh", "（756 道题中的 30 道）：")])
def test_a_suite_that_was_asked_in_part_says_so_beside_its_verdict(comparison, language, head):
    first, *others = comparison.suites
    part = replace(first, notes=(Reason("note.part", {"n": 30, "all": 756}),))
    assert first.label + head in explain(replace(comparison, suites=(part, *others)), language=language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_three_sentences_for_every_suite(comparison, language):
    for suite in comparison.suites:
        parts = sentences(suite, language)
        assert len(parts) == 3
        for part in parts:
            assert part.endswith("." if language == "en" else "。")
            assert "\n" not in part
            assert not re.search(r"\bNone\b|Decimal|E[-+]\d", part)
        if language == "zh" and suite.suite != "livebench":
            assert not re.search(r"[\u4e00-\u9fff][,;:.]", "".join(parts))


def suite_of(comparison, **changes):
    return replace(comparison.suites[0], **changes)


@pytest.mark.parametrize(
    ("changes", "language", "words"),
    [
        ({"verdict": Verdict.INCONCLUSIVE, "ci90": Interval(-0.03, 0.01, 0.9), "needed_repeats": NeededRepeats(None, None, None, 0.8, "repeats cannot help: the stacks differ item by item")}, "en", "nor a difference is shown; repeats cannot help: the stacks differ item by item."),
        ({"verdict": Verdict.INCONCLUSIVE, "ci90": Interval(-0.03, 0.01, 0.9), "needed_repeats": NeededRepeats(12, None, None, 0.9)}, "en", "; 12 repeats of each question would decide with a probability of 90 %."),
        ({"verdict": Verdict.INCONCLUSIVE, "ci90": Interval(-0.03, 0.01, 0.9)}, "en", "neither sameness nor a difference is shown."),
        ({"verdict": Verdict.INCONCLUSIVE, "ci90": Interval(-0.03, 0.01, 0.9), "needed_repeats": NeededRepeats(None, None, None, 0.8)}, "zh", "且增加重复次数也无法判定。"),
        ({"verdict": Verdict.INCONCLUSIVE, "ci90": Interval(-0.03, 0.01, 0.9), "needed_repeats": NeededRepeats(51, 3060, 24_400_000, 0.8)}, "zh", "每题重复 51 次（3060 个样本、2440 万个词元），有 80% 的把握作出判定。"),
        ({"verdict": Verdict.INCONCLUSIVE, "reasons": (said("worst-case imputation changes it"),)}, "en", "The verdict is INCONCLUSIVE for another reason than the interval: worst-case imputation changes it."),
        ({"verdict": Verdict.INCONCLUSIVE, "reasons": ()}, "zh", "依据不是该区间。"),
        ({"verdict": Verdict.EQUIVALENT, "ci90": Interval(0.0, 0.01, 0.9)}, "en", "between 0.0 and 1.0 points better"),
        ({"verdict": Verdict.EQUIVALENT, "ci90": Interval(-0.015, -0.002, 0.9), "difference": -0.008}, "en", "the small difference is real, but tolerated"),
        ({"verdict": Verdict.INVALID, "reasons": ()}, "en", "No verdict is possible; nothing in this row may be published."),
        ({"verdict": Verdict.EQUIVALENT, "ci90": None}, "en", "no difference is stated"),
    ],
)  # fmt: skip
def test_turns(comparison, changes, language, words):
    assert words in "".join(sentences(suite_of(comparison, **changes), language))


def test_hostile_labels_stay_on_their_line(comparison, example):
    suite = suite_of(comparison, label=example.HOSTILE, reasons=(said(example.HOSTILE),), verdict=Verdict.INVALID)
    assert not re.search("[\x00-\x1f]", "".join(sentences(suite)))


@pytest.mark.parametrize(
    ("language", "words"), [("en", "has no question with a score on both sides:"), ("zh", "没有两端都有得分的题：")]
)
def test_a_side_that_was_never_asked_is_no_question_asked(comparison, language, words):
    sentence = sentences(suite_of(comparison, n_items=0), language)[0]
    assert words in sentence
    assert " 0 " not in sentence


ALERT = said("only 40.0 % of the replies are the same text")


@pytest.mark.parametrize(("language", "also"), [("en", "Beside that: only 40.0 %"), ("zh", "此外：only 40.0 %")])
def test_an_alert_that_the_verdict_misses_is_explained_too(example, language, also):
    first, *others = example.clean().suites
    alerted = replace(example.clean(), suites=(replace(first, reasons=(*first.reasons, ALERT)), *others))
    calm, told = (explain(one, language=language) for one in (example.clean(), alerted))
    assert also in told
    assert also not in calm
    assert calm.splitlines()[0] != told.splitlines()[0], "the two are not called the same model"
    again = Reason("second_run.other", {"verdict": "EQUIVALENT", "reason": ALERT})
    twice = replace(example.clean(), suites=(replace(first, reasons=(*first.reasons, again)), *others))
    assert explain(twice, language=language).splitlines()[0] == calm.splitlines()[0]


def test_an_open_verdict_never_asks_for_what_cannot_decide(comparison):
    """Repeats of greedy answers decide nothing: what would is said by each suite."""
    open_ = replace(comparison, verdict=Verdict.INCONCLUSIVE)
    assert "repeats" not in explain(open_).splitlines()[0]
    assert "重复" not in explain(open_, language="zh").splitlines()[0]


@pytest.mark.parametrize(("language", "word"), [("en", "mean"), ("zh", "平均")])
def test_of_a_single_suite_no_mean_is_spoken_of(example, language, word):
    made = example.clean()
    alone = replace(made, suites=made.suites[:1], macro=None)
    assert word in explain(made, language=language).splitlines()[0]
    assert word not in explain(alone, language=language).splitlines()[0]
