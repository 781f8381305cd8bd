"""Prose about a picture that settles on one option without an answer line, for `evalkit.scoring.answers.letters`.

An option is named by its letter, in brackets or behind a noun ("(D)", "Box B"), or by its own text. What counts is what
the reply says of it, sentence by sentence:

    a line of its own under a colon              "the most likely photograph is:", "(D) the fourth image"
    a comparison that it wins                    "Point A is closer than point B", "Box B more accurately encloses it"
    a decision                                   "I would lean towards (A) the first image"
    what the question asks for                   "the corresponding point is therefore Point C"
    a first sentence that the second justifies   "It moves to the right. This is evident because ..."

All that count must name one option; a sentence that denies, asks, or names two options side by side counts for none.
Only the last and first few thousand characters are looked at.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from evalkit.resources import Patterns
from evalkit.scoring.answers.choice import Options, only, option_of
from evalkit.scoring.answers.reply import supposed

LONGEST_CHARS: Final = 4_000
_NEARER: Final = frozenset({"more", "closer", "nearer"})
"""What is mostly asked for, where neither the options nor the question say it."""

_SHORTEST_TEXT_CHARS: Final = 4

_RE: Final = Patterns("prose")


@dataclass(frozen=True, slots=True)
class _Mention:
    """One option named at [start, end) of a sentence; the places where it is named twice in a row are one."""

    letter: str
    start: int
    end: int


def settled_on(text: str, options: Options) -> str | None:
    """The letter of the option that `text` (normalised, without markup) settles on; None where it settles on none."""
    tail = text[-LONGEST_CHARS:]
    sentences = [sentence.strip() for sentence in _RE.sentence.findall(tail)]
    decided = [*_under_colons(tail, options)]
    decided += (letter for sentence in sentences if (letter := _decided(sentence, options)))
    if not decided and (letter := _justified(text[:LONGEST_CHARS], options)):
        return letter
    return only(options, iter(decided))


def _under_colons(text: str, options: Options) -> Iterator[str]:
    """The options that stand alone on a line under one that ends with a colon."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    for before, line, after in zip(lines, lines[1:], [*lines[2:], ""], strict=False):
        if before.endswith(":") and (letter := option_of(line, options)) and not option_of(after, options):
            yield letter


def _decided(sentence: str, options: Options) -> str | None:
    """The option for which one sentence decides."""
    mentions = _mentions(sentence, options)
    if sentence.endswith("?") or not mentions:
        return None
    for place, mention in enumerate(mentions):
        before, after = sentence[: mention.start], sentence[mention.end :]
        announced = _RE.decision.search(before) or _RE.sought.search(before)
        more = _RE.comparative.match(after)  # of what question and options ask for
        won = _RE.superlative.match(after) or (more and more["word"].lower() in (options.comparatives or _NEARER))
        if not (announced or won) or _RE.denial.search(before) or _RE.denied.match(after):
            continue
        if not _beside_another(sentence, mentions, place) and not supposed(sentence, mention.start):
            return mention.letter
    return None


def _beside_another(sentence: str, mentions: list[_Mention], place: int) -> bool:
    """Whether another option stands side by side with a mention, or behind it without being set against it."""
    mention = mentions[place]
    before = mentions[place - 1] if place else mention
    after = [other for other in mentions[place + 1 :] if other.letter != mention.letter]
    if before.letter != mention.letter and _RE.side_by_side.fullmatch(sentence, before.end, mention.start):
        return True
    return bool(after) and not _RE.contrast.search(sentence, mention.end, after[0].start)


def _justified(text: str, options: Options) -> str | None:
    """The only option of the first sentence, where the second gives the evidence for it."""
    first, *others = [sentence.strip() for sentence in _RE.sentence.findall(text)] or [""]
    if not others or not _RE.evidence.match(others[0]) or _RE.denial.search(first):
        return None
    return only(options, (mention.letter for mention in _mentions(first, options)))


def _mentions(sentence: str, options: Options) -> list[_Mention]:
    """The options named in a sentence, in order."""
    found = [
        _Mention(letter, match.start(), match.end())
        for match in _RE.lettered.finditer(sentence)
        if (letter := match["bracketed"] or match["named"]) in options.letters
    ]
    for match in _RE.word.finditer(sentence):
        named = options.text_at(sentence, match.start())
        if named and named[1] - match.start() >= _SHORTEST_TEXT_CHARS:
            found.append(_Mention(named[0], match.start(), named[1]))
    merged: list[_Mention] = []
    for mention in sorted(found, key=lambda each: (each.start, -each.end)):
        last = merged[-1] if merged else None
        if last and mention.end <= last.end:
            continue
        if last and last.letter == mention.letter and re.fullmatch(r"[\s(,:]{0,3}", sentence[last.end : mention.start]):
            merged[-1] = _Mention(last.letter, last.start, mention.end)
        else:
            merged.append(mention)
    return merged
