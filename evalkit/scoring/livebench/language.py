"""The language category: connections, plot unscrambling, typos."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from evalkit.scoring.answers.worker import run_limited
from evalkit.scoring.livebench.extract import (
    Grade,
    between,
    between_on_line,
    boxed,
    distance,
    malformed_solutions,
    solutions,
    truth_of,
    without_marks,
)

_GROUP: Final = 4
_PLOT_OPEN, _PLOT_CLOSE = "<PLOT_SUMMARY>", "</PLOT_SUMMARY>"
_PLOT_ENDS: Final = (_PLOT_CLOSE, "**End of Plot Summary**")
_PLOT_SECONDS: Final = 20.0
_ALIKE: Final = 0.5
_DASHES: Final = " --- "


def grade_connections_old(doc: Mapping[str, Any], text: str) -> Grade:
    """Before 2024-11-25: the bold text that holds the largest share of the true groups of four words."""
    truth = _groups(truth_of(doc).split(","))
    phrases = between_on_line(text.replace("\n", ""), "**", "**")
    value, answer = 0.0, phrases[-1] if phrases else None
    for phrase in phrases:
        groups = _groups(phrase.split(","))
        share = sum(any(group <= given for given in groups) for group in truth) / len(truth)
        if share > value:
            value, answer = share, phrase
    return Grade(value=value, answer=answer, anchored=bool(phrases), reason="" if phrases else "no_answer")


def grade_connections_new(doc: Mapping[str, Any], text: str) -> Grade:
    """From 2024-11-25: the words in the solution tags (or the box), cut into fours; the share of true groups."""
    words = truth_of(doc).split(",")
    truth = _groups(words)
    blocks = _connection_blocks(text)
    given = [word for block in blocks for word in block.replace("\n", "").split(",")]
    if len(blocks) > 1:
        given = given[-len(words) :]
    right = sum(group in truth for group in _groups(given)) if given else 0
    return Grade(
        value=min(1.0, right / len(truth)),
        answer=", ".join(word.strip() for word in given) or None,
        anchored=bool(blocks),
        reason="" if blocks else "no_answer",
    )


def grade_plot(doc: Mapping[str, Any], text: str) -> Grade:
    """One minus the edit distance between the true order of the sentences and the order found in the answer.

    Every true sentence is matched with the answer's closest one, however far, so any text earns a little: where no
    sentence resembles a true one, the reason is "no_answer" and the strict reading 0.
    """
    truth = _sentences(truth_of(doc))
    answer = _plot_summary(text)
    given = [sentence for sentence in _sentences(answer) if sentence not in _PLOT_ENDS]
    order, likeness = run_limited(f"{__name__}:closest_order", (truth, given), _PLOT_SECONDS)
    value = max(0.0, 1 - distance(range(len(truth)), order) / len(truth))
    recognised = likeness >= _ALIKE
    return Grade(
        value=value,
        answer=" ".join(str(index) for index in order) or None,
        anchored=_PLOT_CLOSE in text,
        strict=None if recognised else 0.0,
        reason="" if recognised else "no_answer",
    )


def closest_order(truth: list[str], given: list[str]) -> tuple[list[int], float]:
    """For each true sentence the index of the closest given one, and the best likeness of all, in [0, 1].

    Likeness is difflib's ratio; of equally close sentences the one that sorts last counts, in its first place, as
    `difflib.get_close_matches` has it. Runs in a worker: a sentence may be as long as the whole reply.
    """
    from difflib import SequenceMatcher

    order: list[int] = []
    top = 0.0
    matcher: SequenceMatcher[str] = SequenceMatcher()
    for sentence in truth:
        matcher.set_seq2(sentence)
        best: tuple[float, str] | None = None
        for candidate in given:
            matcher.set_seq1(candidate)
            # Both are upper bounds of the ratio, and far cheaper.
            if best is not None and min(matcher.real_quick_ratio(), matcher.quick_ratio()) < best[0]:
                continue
            best = max(best or (0.0, ""), (matcher.ratio(), candidate))
        if best is not None:
            top = max(top, best[0])
            order.append(given.index(best[1]))
    return order, top


def grade_typos(doc: Mapping[str, Any], text: str) -> Grade:
    """Right if the corrected text occurs in the answer; adding something to it is not punished."""
    truth = truth_of(doc)
    found = solutions(text)
    answer = found[-1] if found else _between_dashes(without_marks(text, "<solution>", "</solution>"))
    answer = " ".join(line for line in answer.strip().split("\n") if line)
    return Grade(
        value=float(truth in answer),
        answer=answer or None,
        anchored=bool(found),
        reason="" if answer else "no_answer",
    )


def _groups(words: Iterable[str]) -> list[set[str]]:
    # A word given twice fills one place only, so that a group may take in words of the next one.
    groups: list[set[str]] = [set()]
    for word in words:
        if len(groups[-1]) == _GROUP:
            groups.append(set())
        groups[-1].add(word.strip().lower())
    return groups


def _connection_blocks(text: str) -> list[str]:
    joined = text.replace("\n", "")
    for blocks in (solutions(text), solutions(joined), malformed_solutions(text), malformed_solutions(joined)):
        if blocks:
            return blocks
    content = boxed(text)
    return [] if content is None else [without_marks(content, "\\text{", "}", "\\")]


def _plot_summary(text: str) -> str:
    start = text.find(_PLOT_OPEN)
    if start < 0:
        return text
    body = text[start + len(_PLOT_OPEN) :]
    return body.rsplit(_PLOT_CLOSE, 1)[0] if _PLOT_CLOSE in body else body


def _sentences(text: str) -> list[str]:
    return [sentence for part in text.split(".") if (sentence := part.strip())]


def _between_dashes(text: str) -> str:
    for line in text.split("\n"):
        end = line.rfind(_DASHES)
        start = line.rfind(_DASHES, 0, max(end, 0))
        if start >= 0:
            return between(line[start:], _DASHES, _DASHES)[0]
    return text
