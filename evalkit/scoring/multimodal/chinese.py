"""Reads Chinese verdicts (对, 不正确, 没有错 ...) and short Chinese answers that fill a blank."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final

from evalkit.scoring.answers.reply import for_matching
from evalkit.scoring.multimodal.freetext import number_given
from evalkit.scoring.multimodal.numbers import equal, whole_number

EXTRA_CHARS: Final = 10
"""So much longer than the answer may a text be that contains it."""

# What asks or names instead of judging (是否正确, 对不对, 正确与否), 正确 before the right version of a statement, and
# words in which 对 or 错 mean something else.
_ASKED: Final = re.compile(
    r"是否(?:是)?(?:正确|对|错误|成立|准确)|对不对|对还是错|对或错|对错|正确(?:与否|还是错误|或错误|/错误)|对/错"
    r"|正确的?(?:说法|表述|描述|答案|结论|选项|做法|方法|顺序|应该|应为|应是|理解)"
    r"|不?对称|对[应于比象角立面方照数偶流]|[相绝反针面一成配核校]对|错[过位]|[交差]错"
    r"|true or false|yes or no|right (?:angle|side|hand|triangle|now)|(?:to|on) the right",
    re.IGNORECASE,
)
_VERDICT: Final = re.compile(
    r"(?P<twice>没有?(?:什么)?错误?|并?不(?:是)?错误?的?|并非错误|无误|not (?:false|wrong|incorrect))"
    r"|(?P<no>(?:并|完全|明显|显然)?不(?:太|完全|一定|总是|能算|是|够)?(?:正确|对|准确|成立|属实)|并非(?:完全)?(?:正确|如此)"
    r"|错误?|不是真的|为?假(?:的|命题)?|[×✗✘❌]"
    r"|(?<![a-z])(?:not (?:correct|true|right)|false|incorrect|wrong|untrue)(?![a-z]))"
    r"|(?P<yes>正确|对|准确|成立|属实|为?真(?:的|命题)|[√✓✔✅]|(?<![a-z])(?:true|correct|right)(?![a-z]))",
    re.IGNORECASE,
)
_WHOLE: Final = re.compile(
    r"[\s(\[\"'“]*(?:(?P<yes>是|真|yes|t|y)|(?P<no>否|不是|假|no|f|n))[\s)\]\"'”.。!]*", re.IGNORECASE
)
_LEADING: Final = re.compile(
    r"(?:(?:这|该|此|本)(?:个|种|句|条)?(?:陈述|说法|判断|命题|表述|描述|结论|观点|题|话)?(?:的?(?:说法|内容))?(?:是|为)?\s?)?"
)
_MARKED: Final = re.compile(
    r"(?:答案|判断|结论|结果|answer|verdict)\s?(?:应该?)?(?:是|为|is)?\s?[::]?\s?", re.IGNORECASE
)
_AFTER_LEADING: Final = re.compile(r"(?:的)?\s*(?:[,.;:!?。，；：！？]|\n|\Z|因为|由于|因|as |because )")

_NEGATIONS: Final = re.compile("[不非无未没]")
_RIVALS: Final = tuple(
    frozenset(group)
    for group in (
        *(
            "甲乙丙丁戊己庚辛",
            "东南西北",
            "上下",
            "左右",
            "前后",
            "内外",
            "大小",
            "高低",
            "长短",
            "深浅",
            "多少",
            "快慢",
        ),
        *("强弱", "增减", "升降", "正负", "阴阳", "是否", "有无", "真假", "对错"),
    )
)
_PADDING: Final = re.compile(r"[\s\"'“”‘’「」【】《》()\[\]{}.,;:!?。、$]+")
_LEAD_IN: Final = re.compile(r"(?:答案|应该?|填写?|选择?|结果|即|是|为|叫做?|称为?|等于|有)+")


@dataclass(frozen=True, slots=True)
class Judged:
    """A verdict on a statement; `strong` where a marker announces it or the reply begins with it."""

    true: bool
    strong: bool


def verdict(text: str) -> Judged | None:
    """What `text` (normalised, without markup) says of the statement: after the last marker, first, or last.

    The last marker (答案, 判断 ...) decides; without one the verdict that the reply begins with; without that the last
    one in it. None where there is none: 无法判断 is neither.
    """
    if whole := _WHOLE.fullmatch(text):
        return Judged(whole["yes"] is not None, strong=True)
    asked = [found.span() for found in _ASKED.finditer(text)]
    for marker in reversed(list(_MARKED.finditer(text))[-20:]):
        rest = text[marker.end() : marker.end() + 40].partition("\n")[0]
        if whole := _WHOLE.fullmatch(rest):
            return Judged(whole["yes"] is not None, strong=True)
        found = _VERDICT.match(text, marker.end())
        if found and not _inside(found, asked):
            return Judged(_is_true(found), strong=True)
    lead = _LEADING.match(text)
    first = _VERDICT.match(text, lead.end() if lead else 0)
    if first and not _inside(first, asked) and _AFTER_LEADING.match(text, first.end()):
        return Judged(_is_true(first), strong=True)
    stated = [found for found in _VERDICT.finditer(text) if not _inside(found, asked)]
    return Judged(_is_true(stated[-1]), strong=False) if stated else None


def fills(given: str, truth: str) -> bool:
    """Whether the answer part `given` fills the blank whose right answer is `truth`.

    A number must be equal at its own precision. A text must be equal, or be contained with at most ten further
    characters, no further negation and, where it is a single character, none of its rivals (乙 is not 甲乙丙).
    """
    wanted = _bare(truth)
    number = whole_number(for_matching(truth))
    if number is not None:
        answer = number_given(for_matching(given))
        return answer is not None and equal(answer, number)
    answer_text = _bare(given)
    if not wanted or answer_text == wanted:
        return bool(wanted)
    if len(wanted) == 1:
        rivals = next((group for group in _RIVALS if wanted in group), frozenset())
        return _LEAD_IN.sub("", answer_text) == wanted and not (set(answer_text) & rivals) - {wanted}
    extra = len(answer_text) - len(wanted)
    return (
        wanted in answer_text
        and extra <= EXTRA_CHARS
        and len(_NEGATIONS.findall(answer_text)) == len(_NEGATIONS.findall(wanted))
        and _stands_alone(wanted, answer_text)
    )


def _stands_alone(wanted: str, text: str) -> bool:
    """Latin letters and digits of an answer must not run on into a longer word or number."""
    return re.search(rf"(?<![a-z0-9.]){re.escape(wanted)}(?![a-z0-9])", text) is not None


def _bare(text: str) -> str:
    """NFKC, lower case, without white space, quotes, brackets and punctuation; a minus sign stays."""
    return _PADDING.sub("", unicodedata.normalize("NFKC", text)).replace("\u2212", "-").casefold()


def _inside(found: re.Match[str], spans: list[tuple[int, int]]) -> bool:
    return any(start <= found.start() and found.end() <= end for start, end in spans)


def _is_true(found: re.Match[str]) -> bool:
    return found["no"] is None
