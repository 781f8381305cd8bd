"""The part of a reply that may be graded: what follows the last thinking trace, or the reason why there is nothing.

The reasoning channel is never graded. The rules hold for every scorer, so that "cut off", "empty" and "only thought"
mean the same in every suite.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from evalkit.model import FinalText, Reply, Score, Status

CLOSING_TAGS: Final = ("</think>", "</thinking>", "</thought>")


def final_text(reply: Reply, closing_tags: Sequence[str] = CLOSING_TAGS) -> FinalText:
    """What of `reply` may be graded; see `final_text_of`."""
    return final_text_of(reply.content, reply.reasoning, reply.finish_reason, closing_tags)


def final_text_of(
    content: str,
    reasoning: str = "",
    finish_reason: str | None = "stop",
    closing_tags: Sequence[str] = CLOSING_TAGS,
) -> FinalText:
    """The text after the last of `closing_tags` in `content`, unchanged, or a status that says why there is none.

    The opening tag may be absent (many chat templates put it in the prompt); one that is never closed leaves nothing
    to grade, also after an earlier trace that was closed. `reasoning` only tells "thought, said nothing" from "said
    nothing". A `finish_reason` of "length" or "content_filter" is told apart; every other one counts as "stop".
    """
    cut_off = finish_reason == "length"
    if finish_reason == "content_filter":
        return FinalText("", Status.REFUSED, "content_filter")
    text, open_trace = _after_thinking(content, tuple(closing_tags))
    if open_trace:
        return FinalText("", Status.TRUNCATED, "truncated_in_reasoning" if cut_off else "unclosed_think")
    if text.strip():
        return FinalText(text, truncated=cut_off)
    if cut_off:
        only_thought = bool(reasoning.strip()) and not content.strip()
        return FinalText("", Status.TRUNCATED, "truncated_in_reasoning" if only_thought else "truncated")
    if reasoning.strip():
        return FinalText("", Status.REASONING_ONLY, "reasoning_only")
    return FinalText("", Status.EMPTY, "empty")


def unanswered(final: FinalText) -> Score | None:
    """The score of a reply with nothing to grade: 0 under the reason; None where there is text to grade."""
    if final.status is None:
        return None
    return Score(0.0 if final.status.has_value else None, final.status, final.reason, lenient=0.0)


def ends_midway(final: FinalText) -> bool:
    """Whether the last word of `final` may be unfinished: the server stopped at the limit, no white space follows."""
    return final.truncated and not final.text[-1:].isspace()


def _after_thinking(content: str, closing_tags: tuple[str, ...]) -> tuple[str, bool]:
    """(what follows the last closing tag, whether a trace is opened there and never closed)."""
    closing, opening = _patterns(closing_tags)
    start = 0
    for match in closing.finditer(content):
        start = match.end()
    return content[start:], opening.search(content, start) is not None


@lru_cache(maxsize=16)
def _patterns(closing_tags: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Patterns for the closing tags and for the tags that open them: "</think>" closes "<think>"."""
    openers = [tag.replace("/", "", 1) for tag in closing_tags if "/" in tag]
    return _any_of(closing_tags), _any_of(openers)


def _any_of(tags: Sequence[str]) -> re.Pattern[str]:
    alternatives = "|".join(re.escape(tag) for tag in sorted(tags, key=len, reverse=True) if tag)
    return re.compile(alternatives or r"(?!)", re.IGNORECASE)
