"""The reasons of verdicts in the reader's language: the sentences that every comparison has, by their patterns.

A comparison says its reasons in English. The few sentences that stand in nearly every report are known here; any other
(a broken rule, an alert) stays as it is, and pages mark it as English.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Final

from evalkit.model import Comparison, SuiteResult, Verdict
from evalkit.render.words import WORDS, Language

_NUMBER: Final = r"[-+]?\d[\d.,]*"
_INTERVAL: Final = rf"the (?P<level>{_NUMBER}) % interval (?P<low>{_NUMBER}) … (?P<high>{_NUMBER}) points"
_CHINESE_INTERVAL: Final = "{level}% 区间 {low} … {high} 个百分点"
_REAL: Final = " (0 is outside it: a real difference, but within tolerance)"
_SUSPECT: Final = ": suspect another prompt, scorer, token limit or data set"

_REPEATS: Final = rf"(?P<n>{_NUMBER}) repeats of every item"
_DECIDE: Final = rf"would decide with (?P<power>{_NUMBER}) % power"
_UNCONFIRMED: Final = "outside the margin, but not after Holm's correction"

# Whole parts of a sentence: what stands between its semicolons.
_PARTS: Final = tuple(
    (re.compile(pattern), chinese)
    for pattern, chinese in (
        (rf"{_INTERVAL} lies inside ±(?P<m>{_NUMBER})", _CHINESE_INTERVAL + "，完全落在 ±{m} 之内"),
        (
            rf"{_INTERVAL} lies inside ±(?P<m>{_NUMBER}){re.escape(_REAL)}",
            _CHINESE_INTERVAL + "，完全落在 ±{m} 之内（0 在区间之外：差异确实存在，但在容许范围之内）",
        ),
        (rf"{_INTERVAL} lies wholly below -(?P<m>{_NUMBER})", _CHINESE_INTERVAL + "，完全低于 -{m}"),
        (
            rf"{_INTERVAL} lies wholly above \+(?P<m>{_NUMBER}){re.escape(_SUSPECT)}",
            _CHINESE_INTERVAL + "，完全高于 +{m}：请检查提示词、评分方法、长度上限和数据集是否相同",
        ),
        (
            rf"{_INTERVAL} is neither inside ±(?P<m>{_NUMBER}) nor wholly outside it",
            _CHINESE_INTERVAL + "，既不完全在 ±{m} 之内，也不完全在其外",
        ),
        (
            rf"{_INTERVAL} is neither inside ±(?P<m>{_NUMBER}) nor wholly outside it, leaning worse",
            _CHINESE_INTERVAL + "，既不完全在 ±{m} 之内，也不完全在其外，偏低",
        ),
        (
            rf"{_INTERVAL} is neither inside ±(?P<m>{_NUMBER}) nor wholly outside it, leaning better",
            _CHINESE_INTERVAL + "，既不完全在 ±{m} 之内，也不完全在其外，偏高",
        ),
        (
            rf"{_REPEATS} \((?P<samples>{_NUMBER}) samples, about (?P<tokens>{_NUMBER}(?: [kMG])?) tokens\) {_DECIDE}",
            "每题重复 {n} 次（{samples} 个样本，约 {tokens} 个词元），有 {power}% 的把握作出判定",
        ),
        (
            rf"{_REPEATS} \((?P<samples>{_NUMBER}) samples\) {_DECIDE}",
            "每题重复 {n} 次（{samples} 个样本），有 {power}% 的把握作出判定",
        ),
        (
            rf"{_REPEATS} {_DECIDE}",
            "每题重复 {n} 次，有 {power}% 的把握作出判定",
        ),
        (r"no suite was compared: an empty gate is no pass", "没有比较任何评测集：空的门禁不能算通过"),
        (r"the only suite is shown equivalent within the margin", "唯一的评测集已证明在容差之内一致"),
        (
            rf"all (?P<n>{_NUMBER}) suites are shown equivalent within the margin",
            "全部 {n} 个评测集均已证明在容差之内一致",
        ),
        (
            rf"(?P<n>{_NUMBER}) of (?P<all>{_NUMBER}) suites (?P<verdict>{'|'.join(Verdict)}): (?P<labels>.+)",
            "{all} 个评测集中有 {n} 个结论为“{verdict}”：{labels}",
        ),
        (
            rf"(?P<labels>.+): {_UNCONFIRMED} for (?P<n>{_NUMBER}) suites: run again with other seeds",
            "{labels}：超出容差，但经 Holm 校正（{n} 个评测集）后不成立：请换随机种子重跑",
        ),
    )
)
_LONGEST: Final = 2000
_CHINESE: Final = re.compile("[\u3400-\u9fff]")


def localised(comparison: Comparison, language: Language) -> Comparison:
    """The comparison with its reasons in the reader's language, as far as they are known."""
    if language == "en":
        return comparison
    return replace(
        comparison,
        reasons=tuple(map(chinese_reason, comparison.reasons)),
        suites=tuple(localised_suite(suite, language) for suite in comparison.suites),
    )


def localised_suite(suite: SuiteResult, language: Language) -> SuiteResult:
    """The same for one suite."""
    return suite if language == "en" else replace(suite, reasons=tuple(map(chinese_reason, suite.reasons)))


def chinese_reason(sentence: str) -> str:
    """The sentence in Chinese, part by part; a part that is not known stays English."""
    if len(sentence) > _LONGEST:
        return sentence
    whole = _part(sentence)
    if whole is not None:
        return whole
    parts = [(_part(part), part) for part in sentence.split("; ")]
    if all(chinese is None for chinese, _part_ in parts):
        return sentence
    return "；".join(chinese or part for chinese, part in parts)


def _part(text: str) -> str | None:
    for pattern, chinese in _PARTS:
        match = pattern.fullmatch(text)
        if match:
            values = match.groupdict()
            if "verdict" in values:
                values["verdict"] = WORDS["zh"][values["verdict"]]
            return chinese.format(**values)
    return None


def is_english(text: str) -> bool:
    """True where a page in Chinese should mark a text as English."""
    return not _CHINESE.search(text)
