"""The verdict on a suite in three plain sentences: what was asked, what came out, what may be said."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from evalkit.errors import UsageError, did_you_mean
from evalkit.model import Comparison, NeededRepeats, Probe, SuiteResult, Verdict
from evalkit.render import numbers
from evalkit.render.escape import one_line
from evalkit.render.numbers import Change, Range
from evalkit.render.rows import SuiteRow, suite_row
from evalkit.render.words import WORDS, Language, localised, verdict_text

_OVERALL_ENGLISH: Final = {
    Verdict.EQUIVALENT: "Every suite was shown to agree within its margin: the candidate may be called the same model.",
    Verdict.DEGRADED: "At least one suite is worse by more than its margin: the candidate is not the same model.",
    Verdict.ELEVATED: "At least one suite is better by more than its margin: they differ, or were not asked alike.",
    Verdict.INCONCLUSIVE: "No suite was shown to differ, but not all were shown to agree: ask more before signing.",
    Verdict.INVALID: "At least one suite could not be compared: nothing may be signed until that is mended.",
}
_OVERALL_CHINESE: Final = {
    Verdict.EQUIVALENT: "所有评测集均证明在容差之内一致：可以认为待测端是同一个模型。",
    Verdict.DEGRADED: "至少有一个评测集的下降超出容差：待测端不是同一个模型。",
    Verdict.ELEVATED: "至少有一个评测集的上升超出容差：两端的测试条件不同，或者不是同一个模型。",
    Verdict.INCONCLUSIVE: "没有评测集证明有差异，但并非全部证明一致：签发之前需要更多重复。",
    Verdict.INVALID: "至少有一个评测集无法比较：在修复之前不得签发。",
}


_NOT_ASKED: Final = {
    "en": "The suites were not asked, for what was found before.",
    "zh": "由于事先发现的问题，评测集没有运行。",
}


def explain(comparison: Comparison, suite: str | None = None, *, language: Language = "en") -> str:
    """The overall verdict in one sentence and each suite in three; or one suite only, by its name.

    Raises:
        UsageError: the comparison has no such suite.
    """
    comparison = localised(comparison, language)
    if suite is not None:
        chosen = next((result for result in comparison.suites if result.suite == suite), None)
        if chosen is None:
            names = [result.suite for result in comparison.suites]
            raise UsageError(f"the comparison has no suite {suite!r}{did_you_mean(suite, names)}")
        return _paragraph(chosen, language) + "\n"
    parts = [overall(comparison, language), *(_paragraph(result, language) for result in comparison.suites)]
    if not comparison.suites:
        parts += [one_line(reason) for reason in comparison.reasons]
    elif comparison.probe is not None:
        parts.append(probe_sentence(comparison.probe, language))
    return "\n\n".join(parts) + "\n"


def overall(comparison: Comparison, language: Language = "en") -> str:
    """What the verdict on the whole comparison means, in one sentence."""
    if not comparison.suites:
        return f"{verdict_text(comparison.verdict, language)}{WORDS[language]['colon']}{_NOT_ASKED[language]}"
    return (_OVERALL_ENGLISH if language == "en" else _OVERALL_CHINESE)[comparison.verdict]


def probe_sentence(probe: Probe | None, language: Language = "en") -> str:
    """What the fidelity probe said and on how much; "" where there was none."""
    if probe is None:
        return ""
    words = WORDS[language]
    size = words["probe_size"].format(tokens=f"{probe.tokens:,}", texts=probe.texts)
    parts = [f"{words['probe']}{words['colon']}{verdict_text(probe.verdict, language)}", size]
    if probe.mean_abs_nats is not None:
        parts.append(words["probe_nats"].format(nats=f"{probe.mean_abs_nats:.2g}"))
    return words["semicolon"].join(parts)


def sentences(suite: SuiteResult, language: Language = "en") -> tuple[str, str, str]:
    """What was asked and scored; the interval of the difference; what follows from it."""
    writer: _English | _Chinese = (
        _English(suite, suite_row(suite)) if language == "en" else _Chinese(suite, suite_row(suite))
    )
    return (writer.asked(), writer.found(), writer.means())


def _paragraph(suite: SuiteResult, language: Language) -> str:
    label = one_line(suite.label or suite.suite)
    separator, colon = (" ", ": ") if language == "en" else ("", "：")
    return f"{label}{colon}{verdict_text(suite.verdict, language)}\n" + separator.join(sentences(suite, language))


@dataclass(frozen=True, slots=True)
class _English:
    suite: SuiteResult
    row: SuiteRow

    def asked(self) -> str:
        """Questions, repeats and both scores."""
        label = one_line(self.row.label)
        reference, candidate = (f"{side.k:f}" for side in (self.row.reference, self.row.candidate))
        if not self.row.n:
            asked = f"{label} has no question with a score on both sides"
        elif reference == candidate:
            asked = f"{label} asked {self.row.n} questions {_times(reference)} on each side"
        else:
            each = f"{_times(reference)} on the reference and {_times(candidate)} on the candidate"
            asked = f"{label} asked {self.row.n} questions {each}"
        scores = " and ".join(
            f"the {word} has no score" if side.score is None else f"the {word} scored {side.score:f} %"
            for word, side in (("reference", self.row.reference), ("candidate", self.row.candidate))
        )
        return f"{asked}: {scores}."

    def found(self) -> str:
        """Where the difference lies, and how far the reference is from itself."""
        if self.row.change is None:
            return "There is no interval for the difference, so no difference is stated."
        interval = self.row.change.interval
        text = f"The candidate is {self._between(interval)} than the reference ({interval.level_percent} % interval)"
        if self.row.noise_floor:
            text += f"; the reference, asked twice, is {self._between(self.row.noise_floor)} than itself"
        return text + "."

    def means(self) -> str:
        """What may be said, and what is to be done."""
        margin = f"the margin of ±{self.row.margin:f} points"
        change = self.row.change
        if self.suite.verdict is Verdict.INVALID:
            return f"No verdict is possible{self._reason()}; nothing in this row may be published."
        if change is None or not _interval_decides(self.suite, change):
            verdict = self.suite.verdict.value
            return f"The verdict is {verdict} for another reason than the interval{self._reason()}{self._needed()}."
        if self.suite.verdict is Verdict.INCONCLUSIVE:
            return (
                f"The interval reaches beyond {margin}, so neither sameness nor a difference is shown{self._needed()}."
            )
        if self.suite.verdict is Verdict.DEGRADED:
            best = f"{_size(change.interval.high)} points worse"
            return f"Even the best case, {best}, is beyond {margin}: on this suite the candidate is not the same model."
        if self.suite.verdict is Verdict.ELEVATED:
            least = f"{_size(change.interval.low)} points better"
            check = "look for another prompt, scorer, token limit or data set before believing it"
            return f"Even the least of it, {least}, is beyond {margin}: {check}."
        excludes_zero = change.interval.low > 0 or change.interval.high < 0
        remark = "; the small difference is real, but tolerated" if excludes_zero else ""
        return f"All of that lies inside {margin}, so on this suite the two may be called equivalent{remark}."

    def _between(self, interval: Range) -> str:
        low, high = interval.low, interval.high
        if low >= 0:
            return f"between {_size(low)} and {_size(high)} points better"
        if high <= 0:
            return f"between {_size(high)} and {_size(low)} points worse"
        return f"between {_size(low)} points worse and {_size(high)} points better"

    def _reason(self) -> str:
        return f": {one_line(self.suite.reasons[0]).rstrip('.')}" if self.suite.reasons else ""

    def _needed(self) -> str:
        needed = self.suite.needed_repeats
        if needed is None:
            return ""
        if needed.repeats is None:
            # A note says itself that repeats cannot decide.
            note = one_line(needed.note).rstrip(".")
            return f"; {note}" if note else ", and no number of repeats can decide"
        cost = ", ".join(text for text in (_samples(needed, "samples"), _tokens(needed, 1e6, "million tokens")) if text)
        power = numbers.shortest(numbers.points(needed.power), 0)
        repeats = f"{needed.repeats} repeats of each question{f' ({cost})' if cost else ''}"
        return f"; {repeats} would decide with a probability of {power} %"


@dataclass(frozen=True, slots=True)
class _Chinese:
    suite: SuiteResult
    row: SuiteRow

    def asked(self) -> str:
        """Questions, repeats and both scores."""
        label = one_line(self.row.label)
        reference, candidate = (f"{side.k:f}" for side in (self.row.reference, self.row.candidate))
        if not self.row.n:
            asked = f"{label} 没有两端都有得分的题"
        elif reference == candidate:
            asked = f"{label} 共 {self.row.n} 题，两端每题各答 {reference} 次"
        else:
            asked = f"{label} 共 {self.row.n} 题，参考端每题答 {reference} 次，待测端每题答 {candidate} 次"
        scores = "，".join(
            f"{word}没有得分" if side.score is None else f"{word}得分 {side.score:f}%"
            for word, side in (("参考端", self.row.reference), ("待测端", self.row.candidate))
        )
        return f"{asked}：{scores}。"

    def found(self) -> str:
        """Where the difference lies, and how far the reference is from itself."""
        if self.row.change is None:
            return "差值没有置信区间，因此不给出差值。"
        interval = self.row.change.interval
        text = f"待测端比参考端{self._between(interval)}（{interval.level_percent}% 区间）"
        if self.row.noise_floor:
            text += f"；参考端两次测试之间相差{self._between(self.row.noise_floor)}"
        return text + "。"

    def means(self) -> str:
        """What may be said, and what is to be done."""
        margin = f"±{self.row.margin:f} 个百分点的容差"
        change = self.row.change
        if self.suite.verdict is Verdict.INVALID:
            reason = f"：{one_line(self.suite.reasons[0]).rstrip('.。')}" if self.suite.reasons else ""
            return f"无法得出结论{reason}；本行数据不得发布。"
        if change is None or not _interval_decides(self.suite, change):
            reason = f"：{one_line(self.suite.reasons[0]).rstrip('.。')}" if self.suite.reasons else ""
            return f"结论为“{verdict_text(self.suite.verdict, 'zh')}”，依据不是该区间{reason}{self._needed()}。"
        if self.suite.verdict is Verdict.INCONCLUSIVE:
            return f"该区间超出{margin}，因此既未证明一致，也未证明有差异{self._needed()}。"
        if self.suite.verdict is Verdict.DEGRADED:
            best = f"低 {_size(change.interval.high)} 个百分点"
            return f"即使取最好的情况，即{best}，也超出{margin}：在该评测集上，待测端不是同一个模型。"
        if self.suite.verdict is Verdict.ELEVATED:
            least = f"高 {_size(change.interval.low)} 个百分点"
            return f"即使取最小的情况，即{least}，也超出{margin}：请先检查提示词、评分方法、长度上限和数据集是否相同。"
        excludes_zero = change.interval.low > 0 or change.interval.high < 0
        remark = "；微小的差异确实存在，但在容许范围之内" if excludes_zero else ""
        return f"该区间完全落在{margin}之内，因此在该评测集上可以认为两端等效{remark}。"

    def _between(self, interval: Range) -> str:
        low, high = interval.low, interval.high
        if low >= 0:
            return f"高 {_size(low)} 至 {_size(high)} 个百分点"
        if high <= 0:
            return f"低 {_size(high)} 至 {_size(low)} 个百分点"
        return f"低 {_size(low)} 至高 {_size(high)} 个百分点"

    def _needed(self) -> str:
        needed = self.suite.needed_repeats
        if needed is None:
            return ""
        if needed.repeats is None:
            note = one_line(needed.note).rstrip(".。")
            return f"；{note}" if note else "，且增加重复次数也无法判定"
        cost = "、".join(text for text in (_samples(needed, "个样本"), _tokens(needed, 1e4, "万个词元")) if text)
        power = numbers.shortest(numbers.points(needed.power), 0)
        return f"；每题重复 {needed.repeats} 次{'（' + cost + '）' if cost else ''}，有 {power}% 的把握作出判定"


def _size(value: Decimal) -> str:
    return f"{abs(value):f}"


def _samples(needed: NeededRepeats, unit: str) -> str:
    return "" if needed.samples is None else f"{needed.samples} {unit}"


def _tokens(needed: NeededRepeats, scale: float, unit: str) -> str:
    """Completion tokens in multiples of `scale`, three significant digits."""
    if needed.completion_tokens is None:
        return ""
    return f"{numbers.significant(needed.completion_tokens / scale, digits=3):f} {unit}"


def _times(k: str) -> str:
    return {"0": "never", "1": "once"}.get(k, f"{k} times")


def _interval_decides(suite: SuiteResult, change: Change) -> bool:
    """True where the verdict is what the interval and the margin alone would give."""
    low, high, margin = change.interval.low, change.interval.high, numbers.points(suite.margin)
    if high < -margin:
        return suite.verdict is Verdict.DEGRADED
    if low > margin:
        return suite.verdict is Verdict.ELEVATED
    inside = -margin < low and high < margin
    return suite.verdict is (Verdict.EQUIVALENT if inside else Verdict.INCONCLUSIVE)
