"""The fixed words of the reports in English and Chinese; what a comparison itself says is printed as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from evalkit.model import Verdict

Language: TypeAlias = Literal["en", "zh"]
LANGUAGES: Final[tuple[Language, ...]] = ("en", "zh")

SYMBOLS: Final[Mapping[Verdict, str]] = {
    Verdict.EQUIVALENT: "✓",
    Verdict.DEGRADED: "▼",
    Verdict.ELEVATED: "▲",
    Verdict.INCONCLUSIVE: "?",
    Verdict.INVALID: "✗",
}
ASCII_SYMBOLS: Final[Mapping[Verdict, str]] = {
    Verdict.EQUIVALENT: "=",
    Verdict.DEGRADED: "-",
    Verdict.ELEVATED: "+",
    Verdict.INCONCLUSIVE: "?",
    Verdict.INVALID: "!",
}

_ENGLISH: Final[Mapping[str, str]] = {
    "suite": "Suite",
    "n": "n",
    "k": "k",
    "n_k": "n×k",
    "ref": "Ref.",
    "cand": "Cand.",
    "margin_below": "margin",
    "noise_below": "noise",
    "reference": "Reference",
    "candidate": "Candidate",
    "difference": "Difference",
    "interval": "{level} % interval",
    "bounds": "Interval",
    "margin": "Margin",
    "noise_floor": "Noise floor",
    "verdict": "Verdict",
    "reasons": "Reasons",
    "mean_of_suites": "Mean of {n} suites",
    "worst": "Largest difference",
    "behaviour": "Behaviour",
    "measure": "Measure",
    "alert": "Alert",
    "units": "Scores in percent of n items, k repeats each; differences are candidate minus reference, in points.",
    "differing": "Configuration that differs",
    "key": "Key",
    "not_for_publication": "Not for publication",
    "is_invalid": "INVALID",
    "is_incomplete": "incomplete",
    "incomplete": "incomplete",
    "valued_of": "{side} {valued} of {planned} samples",
    "provenance": "Made by evalkit from stored runs",
    "points": "points",
    "colon": ": ",
    "semicolon": "; ",
    "stop": ".",
    "list": ", ",
    "open": " (",
    "close": ")",
    "EQUIVALENT": "EQUIVALENT",
    "DEGRADED": "DEGRADED",
    "ELEVATED": "ELEVATED",
    "INCONCLUSIVE": "INCONCLUSIVE",
    "INVALID": "INVALID",
}

_CHINESE: Final[Mapping[str, str]] = {
    "suite": "评测集",
    "n": "n",
    "k": "k",
    "n_k": "n×k",
    "ref": "参考",
    "cand": "待测",
    "margin_below": "容差",
    "noise_below": "噪声",
    "reference": "参考端",
    "candidate": "待测端",
    "difference": "差值",
    "interval": "{level}% 区间",
    "bounds": "区间",
    "margin": "容差",
    "noise_floor": "噪声基线",
    "verdict": "结论",
    "reasons": "依据",
    "mean_of_suites": "{n} 个评测集的平均",
    "worst": "差值最大的评测集",
    "behaviour": "行为指标",
    "measure": "指标",
    "alert": "提示",
    "units": "分数为 n 道题的百分比，每题重复 k 次；差值为待测端减参考端，单位为百分点。",
    "differing": "不同的配置项",
    "key": "键",
    "not_for_publication": "不得发布",
    "is_invalid": "结论无效（INVALID）",
    "is_incomplete": "未完成",
    "incomplete": "未完成",
    "valued_of": "{side}仅有 {planned} 个样本中的 {valued} 个",
    "provenance": "由 evalkit 根据已存储的运行结果生成",
    "points": "百分点",
    "colon": "：",
    "semicolon": "；",
    "stop": "。",
    "list": "、",
    "open": "（",
    "close": "）",
    "EQUIVALENT": "等效",
    "DEGRADED": "下降",
    "ELEVATED": "偏高",
    "INCONCLUSIVE": "未定",
    "INVALID": "无效",
}

WORDS: Final[Mapping[Language, Mapping[str, str]]] = {"en": _ENGLISH, "zh": _CHINESE}


def verdict_text(verdict: Verdict, language: Language) -> str:
    """The verdict's word; in Chinese the English word follows, since exit codes and files use that."""
    word = WORDS[language][verdict.value]
    return word if language == "en" else f"{word} {verdict.value}"
