"""Replies that belong to another question which the server had in hand at the same time: requests that were mixed up.

Four things show it. A reply says what the other side replies to that other question, and hardly anything of what it
replies to its own: by its words, weighed by how few replies have them. Or, where replies are too short to say anything,
more lost answers than chance allows are the answer to one question in flight, on this side and not on the other. Or
replies of some length are word for word those to another question, on this side and not on the other; or those that the
other side gives to it, where this one's own reply would have been better. A letter or a small number is the answer to
many questions, and shows nothing.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import log
from typing import Final

import numpy as np

from evalkit.compare.behaviour import spread, whole_text
from evalkit.compare.columns import NO_TEXT, Samples, Side
from evalkit.compare.pair import Aligned, Ints, codes_of
from evalkit.model import BehaviourRow, Reason, Status
from evalkit.stats.tails import binomial_upper, upper_of_unequal

_SLACK_SECONDS: Final = 1.0  # a reply may be on its way when the next question comes
_ROWS: Final = 150  # suspicious replies of a side that are looked into
_READ: Final = 3000  # replies to what was in flight with them, after which no more are
_BACKGROUND: Final = 200  # further replies that say which words are rare
_WORDS: Final = 3  # rare ones that both replies have
_ALIKE: Final = 0.4  # of a reply's weight in words, shared with the reply to the other question
_OWN: Final = 0.5  # of that at most is shared with the reply to its own
_RARE: Final = 0.02  # of the replies have a rare word, or a single one
_HOLDERS: Final = 2  # questions that a telling answer is the answer to
_COPIED_CHARACTERS: Final = 40  # a shorter reply may be that to several questions
_LEAST: Final = 3
_ALPHA: Final = 1e-4
_ON_BOTH: Final = 0.01
_SHOWN: Final = 3
_WORD: Final = re.compile(r"[^\W_]{4,}")
_UNSPACED: Final = "\u2e80"  # letters from here on are written without spaces between words


def crossed_row(suite: str, reference: Side, candidate: Side, aligned: Aligned) -> BehaviourRow | None:
    """The row of replies that are those of other questions, with an alert that names some; None without any."""
    looks = _Look(suite, (reference, candidate), aligned, 0), _Look(suite, (candidate, reference), aligned, 1)
    crossed = [look.by_words() for look in looks]
    trials = [look.trials(found, look.answers) for look, found in zip(looks, crossed, strict=True)]
    for kind in ([look.copies() for look in looks], [look.trials({}, look.texts) for look in looks]):
        for number in (0, 1):
            crossed[number] |= _by_answers(kind[number], kind[1 - number], copied=True)
    for number in (0, 1):
        crossed[number] |= _by_answers(trials[number], trials[1 - number])
    if not any(crossed):
        return None
    parts = []
    for side, look, found in zip(("reference", "candidate"), looks, crossed, strict=True):
        names = [look.named(row, other) for row, other in sorted(found.items())]
        if names:
            size = {"n": len(names), "all": look.answered}
            parts.append(Reason("crossed.side", {"side": side, **size, "items": tuple(names[:_SHOWN])}))
    one, two = (len(found) / max(1, look.answered) for look, found in zip(looks, crossed, strict=True))
    return BehaviourRow("crossed_answers", one, two, "share", None, Reason("alert.crossed", {"parts": tuple(parts)}))


def _words(text: str) -> frozenset[str]:
    """The words of a text in small letters; three letters in a row where words are not set apart."""
    found: set[str] = set()
    for word in _WORD.findall(text.lower()):
        found.update((word[n : n + 3] for n in range(len(word) - 2)) if word[0] >= _UNSPACED else (word,))
    return frozenset(found)


@dataclass(frozen=True, slots=True)
class _Trial:
    """A lost answer that is the answer to other questions: was one of them in flight, and how likely was that?"""

    row: int
    other: int | None
    chance: float


def _by_answers(trials: Sequence[_Trial], others: Sequence[_Trial], *, copied: bool = False) -> dict[int, int]:
    """Rows whose answers are those of questions in flight, where that is more than chance and the data explain.

    `others` are the other side's: questions that lie near each other have near answers on both sides. Texts that are
    `copied` tell enough by themselves where the other side has hardly any: everything may have been in flight at once.
    """
    hits = {trial.row: trial.other for trial in trials if trial.other is not None}
    theirs = sum(trial.other is not None for trial in others)
    if len(hits) < _LEAST:
        return {}
    on_both = binomial_upper(len(hits), len(hits) + theirs, 0.5)
    by_chance = upper_of_unequal(len(hits), [trial.chance for trial in trials])
    return hits if (by_chance <= _ALPHA and on_both <= _ON_BOTH) or (copied and on_both <= _ALPHA) else {}


class _Look:
    """One side of a suite (the first of `sides`), looked at for replies that the other gives to other questions."""

    def __init__(self, suite: str, sides: tuple[Side, Side], aligned: Aligned, number: int) -> None:
        """`number` is 0 where the side is the reference, 1 where it is the candidate."""
        self._suite, self._sides, self._cluster = suite, sides, aligned.layout.cluster
        self._names = aligned.layout.items
        self._own, self._other = (side.suites[suite].samples for side in sides)
        self._code = aligned.codes[number][self._own.item]
        cells = [(aligned.reference, aligned.candidate)[place] for place in (number, 1 - number)]
        pairs = [side.row[aligned.both[place]] for side, place in zip(cells, (number, 1 - number), strict=True)]
        there = (pairs[0] >= 0) & (pairs[1] >= 0)
        self._partner = np.full(len(self._own), -1)
        self._partner[pairs[0][there]] = pairs[1][there]
        replied = np.flatnonzero(self._other.text != NO_TEXT)[::-1]
        self._reply_of = np.full(len(self._names), -1)  # by item code a row of the other side with a reply
        self._other_code = aligned.codes[1 - number][self._other.item]
        self._reply_of[self._other_code[replied]] = replied
        self._flight = _Flight(self._own)
        self.answered = int((self._own.text != NO_TEXT).sum())
        self._read = cache(self._words_of)

    def named(self, row: int, other: int) -> Reason:
        """Which item a row is, and whose reply it has."""
        return Reason("crossed.item", {"item": self._names[self._code[row]], "other": self._names[other]})

    def _differing(self, *, lost: bool) -> Ints:
        """Rows that lost against the other side's reply to the same question; else those it says elsewhere as well."""
        rows = np.flatnonzero((self._partner >= 0) & (self._own.text != NO_TEXT) & ~np.isnan(self._own.at))
        own, other = self._own, self._other
        partner = self._partner[rows]
        chosen = (own.value[rows] < other.value[partner]) | own.status.mask(Status.NO_ANSWER)[rows]
        if not lost:
            said = np.sort(other.text)
            place = np.minimum(np.searchsorted(said, own.text[rows]), said.size - 1)
            chosen |= said[place] == own.text[rows]
        chosen &= (own.text[rows] != other.text[partner]) & (other.text[partner] != NO_TEXT)
        return np.asarray(rows[chosen & ~own.status.mask(Status.REFUSED)[rows]])

    def _beside(self, row: int) -> Ints:
        """Codes of the other items that were in flight with a row and share no passage with it."""
        codes = codes_of(self._code[self._flight.beside(row)])
        return np.asarray(codes[self._cluster[codes] != self._cluster[self._code[row]]])

    # ---------------------------------------------------------------- by words

    def by_words(self) -> dict[int, int]:
        """By row the code of the item whose reply it has."""
        near = self._near()
        if not near:
            return {}
        known = {*spread(self._reply_of[self._reply_of >= 0], _BACKGROUND).tolist()}
        known.update(int(self._partner[row]) for row in near)
        known.update(*near.values())
        held = Counter(word for row in known for word in self._read(1, row))
        owners = {row: self._owner(row, others, held, len(known)) for row, others in near.items()}
        return {row: owner for row, owner in owners.items() if owner is not None}

    def _near(self) -> dict[int, list[int]]:
        """By row the rows of the other side's replies to what was in flight with it, for as many as may be read."""
        near: dict[int, list[int]] = {}
        read: set[int] = set()
        for row in spread(self._differing(lost=False), _ROWS).tolist():
            replies = self._reply_of[self._beside(row)]
            near[row] = replies[replies >= 0].tolist()
            read.update(near[row])
            if len(read) > _READ:
                break
        return near

    def _owner(self, row: int, near: Sequence[int], held: Counter[str], replies: int) -> int | None:
        """The code of the item in flight that a reply belongs to; None where it may be the row's own."""
        words = self._read(0, row)
        weight = {word: log((replies + 1) / max(1, held[word])) for word in words}
        total = sum(weight.values())
        if len(words) < _WORDS or not total or not near:
            return None

        def alike(other: int) -> float:
            return sum(weight[word] for word in words & self._read(1, other)) / total

        best = max(near, key=alike)
        own = self._partner[row]
        if alike(best) < _ALIKE or alike(int(own)) > _OWN * alike(best):
            return None
        most = max(1.0, _RARE * replies)
        shared = {word for word in words & self._read(1, best) if held[word] <= most}
        item, other = int(self._code[row]), int(self._other_code[best])
        return other if len(shared) >= _WORDS and self._asks(item, other, words) else None

    def _asks(self, item: int, other: int, words: frozenset[str]) -> bool:
        """True where a reply has more words of the other question than of the item's own: it is about that one."""
        questions = [self._sides[0].item(self._suite, self._names[code]) for code in (item, other)]
        if questions[0] is None or questions[1] is None:
            return True
        own, others = (_words(about.question) for about in questions if about is not None)
        return len(words & (others - own)) > len(words & (own - others))

    def _words_of(self, place: int, row: int) -> frozenset[str]:
        reply = self._sides[place].reply(self._suite, row)
        return frozenset() if reply is None else _words(whole_text(reply))

    # ---------------------------------------------------------------- by answers

    def answers(self, place: int, row: int) -> object:
        """What a reply answers, if anything; `place` is 0 for this side, 1 for the other."""
        return (self._own, self._other)[place].answer[row]

    def texts(self, place: int, row: int) -> object:
        """A reply that is long enough to be one question's alone, as a number; None for a shorter one."""
        samples = (self._own, self._other)[place]
        return int(samples.text[row]) if samples.characters[row] >= _COPIED_CHARACTERS else None

    def trials(self, found: dict[int, int], said: Callable[[int, int], object]) -> list[_Trial]:
        """The replies that lost, other than those that were found, and say what few other questions are answered with.

        Texts that the other side gives to another question are not those of copies alone: of two that were swapped each
        occurs once.
        """
        telling: dict[object, list[int]] = {}
        for code in np.flatnonzero(self._reply_of >= 0).tolist():
            if answer := said(1, int(self._reply_of[code])):
                telling.setdefault(answer, []).append(code)
        trials = []
        for row in self._differing(lost=True).tolist():
            codes = telling.get(said(0, row), [])
            codes = [code for code in codes if self._cluster[code] != self._cluster[self._code[row]]]
            if row in found or not codes or len(codes) > _HOLDERS:
                continue
            trials.append(self._trial(row, codes))
        return trials

    def copies(self) -> list[_Trial]:
        """The replies of some length that are word for word those to another question or two, one a text."""
        own, worth = self._own, np.nan_to_num(self._own.value)
        long = (own.characters >= _COPIED_CHARACTERS) & (own.text != NO_TEXT) & ~np.isnan(own.at)
        rows = np.flatnonzero(long & ~own.status.mask(Status.REFUSED))
        _texts, group, counts = np.unique(own.text[rows], return_inverse=True, return_counts=True)
        by_text: dict[int, list[int]] = {}
        for place in np.flatnonzero(counts[group] > 1).tolist():
            by_text.setdefault(int(group[place]), []).append(int(rows[place]))
        trials = []
        for same in by_text.values():
            # Whose reply it is answers right, or came first.
            copy = min(same, key=lambda row: (worth[row], -own.at[row]))
            codes = {int(code) for code in self._code[same] if self._cluster[code] != self._cluster[self._code[copy]]}
            if 0 < len(codes) <= _HOLDERS:
                trials.append(self._trial(copy, sorted(codes)))
        return trials

    def _trial(self, row: int, codes: Sequence[int]) -> _Trial:
        """Whether one of these other questions was in flight with a row, and how likely that was."""
        beside = self._beside(row)
        here = [code for code in codes if code in beside]
        others = max(1, len(self._names) - 1)
        chance = 1.0 - (1.0 - min(1.0, beside.size / others)) ** len(codes)
        return _Trial(row, here[0] if here else None, chance)


class _Flight:
    """When each reply of a side was in flight: from its request, or its last attempt, to its end."""

    def __init__(self, samples: Samples) -> None:
        """Sorts the replies by their end."""
        self._end = samples.at
        self._start = samples.at - np.nan_to_num(samples.seconds)
        known = np.flatnonzero(~np.isnan(samples.at) & (samples.text != NO_TEXT))
        self._rows = known[np.argsort(self._end[known], kind="stable")]
        self._ends = self._end[self._rows]
        self._longest = float((self._ends - self._start[self._rows]).max()) if known.size else 0.0

    def beside(self, row: int) -> Ints:
        """The rows that were in flight at some time while this one was, itself among them."""
        since, until = self._start[row] - _SLACK_SECONDS, self._end[row] + _SLACK_SECONDS
        first = np.searchsorted(self._ends, since)
        last = np.searchsorted(self._ends, until + self._longest, side="right")
        near = self._rows[first:last]
        return np.asarray(near[self._start[near] <= until])
