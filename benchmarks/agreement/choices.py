"""Why an official letter differs from the one read here: a sketch of what the official patterns can see in a reply."""

from __future__ import annotations

import re
from collections.abc import Sequence

from agreement.report import UNCLASSED
from evalkit.model import Score, Status
from evalkit.scoring.answers.letters import SHORT_CHARS

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DENIAL = re.compile(r"\b(?:not|cannot|incorrect|wrong|less|unlikely)\b|n['’]t\b", re.IGNORECASE)


def named(reply: str, count: int) -> set[str]:
    """Option letters that the official patterns see: in brackets, between spaces, or after the last "Answer:"."""
    after = reply.rpartition("Answer:")[2] if "Answer:" in reply else ""
    padded = f" {reply.strip(',.!?;:' + chr(39))} "
    return {
        letter for letter in LETTERS[:count] if f"({letter})" in reply or f" {letter} " in padded or letter in after
    }


def texts_in(reply: str, choices: Sequence[str]) -> set[str]:
    """Letters of the options whose text, in lower case, lies anywhere in the reply."""
    folded = reply.lower()
    return {letter for letter, text in zip(LETTERS, choices, strict=False) if text and text.lower() in folded}


def classify(reply: str, choices: Sequence[str], official: str, score: Score) -> str:
    """The class of an item on which the official letter is another than the one read here."""
    letters, texts = named(reply, len(choices)), texts_in(reply, choices)
    ours = score.answer if score.status is Status.SCORED else None
    if official not in letters | texts:
        return "random"
    if score.reason == "multiple":
        return "one_of_several"
    if ours and official in texts - letters and ours in texts:
        inside = choices[LETTERS.index(official)].lower() in choices[LETTERS.index(ours)].lower()
        return "nested_text" if inside else "last_mention"
    return _by_letter(reply, letters, texts, official, ours)


def _by_letter(reply: str, letters: set[str], texts: set[str], official: str, ours: str | None) -> str:
    lone = f"({official})" not in reply and not re.search(rf"[Aa]nswer\W{{0,5}}{official}\b", reply)
    if official in letters - texts and lone:
        return "symbol"
    if len(letters | texts) > 1:
        return "last_mention"
    if _DENIAL.search(reply):
        return "denied"
    return "in_passing" if ours is None and len(reply) > SHORT_CHARS else UNCLASSED
