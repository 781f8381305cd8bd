"""The fixed words of the reports in English and Chinese; what a comparison itself says is in `reasons`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from typing import Final, Literal, TypeAlias

from evalkit.model import BehaviourRow, Comparison, SuiteResult, Verdict
from evalkit.render.rows import SHARE_UNITS
from evalkit.resources import data_folder

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
    "comma": ", ",
    "open": " (",
    "close": ")",
    "report": "evalkit report",
    "dark": "Dark or light",
    "against": "{candidate} against {reference}",
    "runs": "The two runs",
    "run": "Run",
    "model": "Model",
    "started": "Started",
    "versions": "Versions",
    "sampling": "Sampling",
    "endpoint": "Endpoint",
    "plot": "Differences and margins",
    "plot_help": "Each line is the interval of candidate minus reference, in points; the shaded band is the margin.",
    "legend_band": "margin",
    "legend_noise": "noise floor: the reference against itself",
    "legend_interval": "difference and its interval",
    "beyond": "An arrow marks an interval that goes on beyond the scale.",
    "no_interval": "no interval",
    "table": "Scores",
    "scores_table": "Table of scores",
    "suites": "Suite by suite",
    "breakdown": "By heading (for information)",
    "heading": "Heading",
    "flips": "Answers that changed",
    "flips_line": "{regressed} items fell, {improved} rose; {churn} % changed their score.",
    "flips_part": "Of {all} items whose score changed, {shown} are here; evalkit compare --flips all keeps every one.",
    "flips_none": "No stored answer changed.",
    "flips_script": "This list needs scripts, which this browser has turned off.",
    "flips_help": "Up and down move through the list, Home and End to its ends.",
    "gated": "Questions, answers and replies of gated data sets are left out.",
    "withheld": "not in this file: the data set is gated",
    "all_suites": "All suites",
    "all_kinds": "All kinds",
    "all_reasons": "All reasons",
    "kind": "Kind",
    "reason": "Reason",
    "search": "Search item or reply",
    "shown": "{shown} of {all}",
    "regressed": "regressed",
    "improved": "improved",
    "changed": "changed",
    "other_answer": "another answer",
    "item": "Item",
    "question": "Question",
    "target": "Right answer",
    "answer": "Answer",
    "score": "Score",
    "repeat": "Repeat",
    "none": "none",
    "alike": "{characters} characters alike before this",
    "cut": "{characters} more characters are not in this file",
    "same_text": "The two replies are the same text.",
    "empty_reply": "(empty reply)",
    "status_scored": "scored",
    "status_no_answer": "no answer",
    "status_truncated": "truncated",
    "status_empty": "empty",
    "status_reasoning_only": "reasoning only",
    "status_refused": "refused",
    "status_grade_error": "not gradable",
    "status_failed": "failed",
    "status_not_asked": "not asked",
    "notes": "Notes",
    "footer": "Made {created} by evalkit {version}; intervals at {level} %.",
    "history": "evalkit history",
    "night": "Night",
    "nights": "nights: {n}, {first} to {last}",
    "stopped_night": "{night} is {verdict} without its suites",
    "last_night": "Last night",
    "trend": "Trend",
    "first_bad": "First bad night",
    "bad_since": "bad since {night}",
    "bad_until": "bad from {night}, good again on {recovered}",
    "last_good": "last good night {night}",
    "never_good": "no good night before",
    "changed_then": "Changed between the last good night and the first bad one",
    "nothing_changed": "nothing that was recorded",
    "before": "Before",
    "after": "After",
    "known": "known",
    "known_until": "known until {until}: {reason}",
    "known_list": "Known differences",
    "from": "From",
    "until": "Until",
    "trend_help": "Each line is the interval of candidate minus reference, in points; the shaded band is the margin.",
    "dashed": "A dashed line marks a first bad night, a hollow marker a known difference.",
    "footer_history": "Made by evalkit {version}.",
    "probe": "Fidelity probe",
    "probe_size": "{tokens} tokens of {texts} texts",
    "probe_nats": "mean |Δ log-probability| {nats} nats",
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
    "comma": "，",
    "open": "（",
    "close": "）",
    "report": "evalkit 报告",
    "dark": "深色或浅色",
    "against": "{candidate} 对比 {reference}",
    "runs": "两端运行",
    "run": "运行编号",
    "model": "模型",
    "started": "开始时间",
    "versions": "版本",
    "sampling": "采样参数",
    "endpoint": "端点",
    "plot": "差值与容差",
    "plot_help": "每条线为待测端减参考端之差的区间，单位为百分点；阴影带为容差。",
    "legend_band": "容差",
    "legend_noise": "噪声基线：参考端与自身之差",
    "legend_interval": "差值及其区间",
    "beyond": "箭头表示区间超出坐标范围。",
    "no_interval": "没有区间",
    "table": "得分",
    "scores_table": "得分表",
    "suites": "逐个评测集",
    "breakdown": "按类别（仅供参考）",
    "heading": "类别",
    "flips": "发生变化的回答",
    "flips_line": "{regressed} 题变差，{improved} 题变好；{churn}% 的题目得分有变化。",
    "flips_part": "得分发生变化的 {all} 题中，此处列出 {shown} 题；evalkit compare --flips all 会保留全部。",
    "flips_none": "没有已存储的回答发生变化。",
    "flips_script": "此列表需要脚本，而当前浏览器已关闭脚本。",
    "flips_help": "用上下方向键移动，Home 与 End 跳到两端。",
    "gated": "受限数据集的题目、答案与回答不在此文件中。",
    "withheld": "不在此文件中：数据集受限",
    "all_suites": "全部评测集",
    "all_kinds": "全部类型",
    "all_reasons": "全部原因",
    "kind": "类型",
    "reason": "原因",
    "search": "搜索题号或回答",
    "shown": "{all} 条中的 {shown} 条",
    "regressed": "变差",
    "improved": "变好",
    "changed": "改变",
    "other_answer": "答案不同",
    "item": "题号",
    "question": "题目",
    "target": "正确答案",
    "answer": "答案",
    "score": "得分",
    "repeat": "第几次重复",
    "none": "无",
    "alike": "此前 {characters} 个字符相同",
    "cut": "另有 {characters} 个字符不在此文件中",
    "same_text": "两个回答的文本相同。",
    "empty_reply": "（空回答）",
    "status_scored": "已评分",
    "status_no_answer": "无答案",
    "status_truncated": "被截断",
    "status_empty": "空",
    "status_reasoning_only": "只有思考过程",
    "status_refused": "拒答",
    "status_grade_error": "无法评分",
    "status_failed": "请求失败",
    "status_not_asked": "未提问",
    "notes": "说明",
    "footer": "由 evalkit {version} 于 {created} 生成；区间的置信度为 {level}%。",
    "history": "evalkit 历史",
    "night": "日期",
    "nights": "夜间运行 {n} 次，{first} 至 {last}",
    "stopped_night": "{night} 未运行评测集，结论为{verdict}",
    "last_night": "最近一次",
    "trend": "趋势",
    "first_bad": "首次异常",
    "bad_since": "自 {night} 起异常",
    "bad_until": "{night} 起异常，{recovered} 恢复",
    "last_good": "最近一次正常为 {night}",
    "never_good": "此前没有正常的记录",
    "changed_then": "最近一次正常与首次异常之间的变化",
    "nothing_changed": "没有已记录的变化",
    "before": "之前",
    "after": "之后",
    "known": "已知",
    "known_until": "已知，有效至 {until}：{reason}",
    "known_list": "已知差异",
    "from": "开始",
    "until": "截止",
    "trend_help": "每条线为待测端减参考端之差的区间，单位为百分点；阴影带为容差。",
    "dashed": "虚线表示首次异常，空心标记表示已知差异。",
    "footer_history": "由 evalkit {version} 生成。",
    "probe": "保真度探针",
    "probe_size": "{texts} 段文本的 {tokens} 个词元",
    "probe_nats": "对数概率差的绝对值平均 {nats} nat",
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


# ----------------------------------------------------------------
# What a comparison says, in the reader's language: verdicts' reasons, notes, the rows beside accuracy
# A comparison says them in English; `reports/reasons.zh.yaml` knows each of its sentences in Chinese. What is not known
# (a sentence of another program, of an older evalkit) stays as it is, and pages mark it as English.


_PLACE: Final = re.compile(r"\{(\w+)(?::(\w+))?\}")
_SIDES: Final = ("reference", "candidate")
# A place in a sentence by its kind; a place without one is a number, with its magnitude where it has one.
_KINDS: Final = {
    "": r"[-+]?(?:\d[\d.,]*(?:e[-+]?\d+)?|inf|nan)(?: [kMG](?![A-Za-z]))?",
    "text": r".+?",
    "part": r".+?",
    "list": r".+?",
    "side": "|".join(_SIDES),
    "verdict": "|".join(Verdict),
}
_LONGEST: Final = 2000
_HAN: Final = re.compile("[\u3400-\u9fff]")


@dataclass(frozen=True, slots=True)
class Sentence:
    """One entry of the list: what it fits, the kind of each of its places, what it becomes."""

    pattern: re.Pattern[str]
    kinds: dict[str, str]
    chinese: str

    def translate(self, text: str) -> str | None:
        """The text in Chinese where it is this sentence."""
        match = self.pattern.fullmatch(text)
        if match is None:
            return None
        return self.chinese.format(**{name: _value(self.kinds[name], one) for name, one in match.groupdict().items()})


def localised(comparison: Comparison, language: Language) -> Comparison:
    """The comparison with its sentences in the reader's language, as far as they are known."""
    if language == "en":
        return comparison
    return replace(
        comparison,
        reasons=tuple(map(chinese_reason, comparison.reasons)),
        notes=tuple(map(chinese_reason, comparison.notes)),
        suites=tuple(map(_chinese_suite, comparison.suites)),
        probe=comparison.probe
        and replace(comparison.probe, reasons=tuple(map(chinese_reason, comparison.probe.reasons))),
    )


def _chinese_suite(suite: SuiteResult) -> SuiteResult:
    needed = suite.needed_repeats
    return replace(
        suite,
        reasons=tuple(map(chinese_reason, suite.reasons)),
        notes=tuple(map(chinese_reason, suite.notes)),
        behaviour=tuple(map(_chinese_row, suite.behaviour)),
        needed_repeats=needed and replace(needed, note=chinese_reason(needed.note)),
    )


def _chinese_row(row: BehaviourRow) -> BehaviourRow:
    # How a share is printed hangs on its unit, and it is printed in percent.
    unit = row.unit if row.unit in SHARE_UNITS else chinese_reason(row.unit)
    return replace(row, name=chinese_reason(row.name), unit=unit, alert=chinese_reason(row.alert))


def chinese_reason(sentence: str) -> str:
    """The sentence in Chinese, part by part; a part that is not known stays English."""
    if len(sentence) > _LONGEST:
        return sentence
    whole = _known(sentence)
    return _chinese_list(sentence) if whole is None else whole


def _chinese_list(sentence: str) -> str:
    parts = [(_known(part), part) for part in sentence.split("; ")]
    if all(chinese is None for chinese, _part in parts):
        return sentence
    return "；".join(chinese or part for chinese, part in parts)


def is_english(text: str) -> bool:
    """True where a page in Chinese should mark a text as English."""
    return bool(text) and not _HAN.search(text)


def _known(text: str) -> str | None:
    return next((chinese for one in sentences() if (chinese := one.translate(text)) is not None), None)


def _value(kind: str, text: str) -> str:
    """What stands in a place of the Chinese sentence."""
    if kind == "part":
        return chinese_reason(text)
    if kind == "list":
        return _chinese_list(text)
    if kind in {"side", "verdict"}:
        return WORDS["zh"][text]
    digits, space, magnitude = text.rpartition(" ")
    return text if kind or not space else _chinese_number(digits, magnitude)


def _chinese_number(digits: str, magnitude: str) -> str:
    """3.4 M as Chinese counts: in steps of ten thousand."""
    scale, unit = {"k": ("0.1", "万"), "M": ("100", "万"), "G": ("10", "亿")}[magnitude]
    return f"{(Decimal(digits) * Decimal(scale)).normalize():f} {unit}"


@cache
def sentences() -> tuple[Sentence, ...]:
    """The entries of `reports/reasons.zh.yaml`, in their order."""
    import yaml

    entries = yaml.safe_load((data_folder("reports") / "reasons.zh.yaml").read_text(encoding="utf-8"))
    return tuple(_sentence(entry["en"], entry["zh"]) for entry in entries)


def _sentence(english: str, chinese: str) -> Sentence:
    kinds = {name: kind or "" for name, kind in _PLACE.findall(english)}
    literal = _PLACE.split(english)
    pattern = re.escape(literal[0])
    for name, kind, then in zip(literal[1::3], literal[2::3], literal[3::3], strict=True):
        pattern += f"(?P<{name}>{_KINDS[kind or '']})" + re.escape(then)
    return Sentence(re.compile(pattern, re.DOTALL), kinds, chinese)
