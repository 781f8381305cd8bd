"""The judge's pure part: what it is asked, what its reply means, what is asked only once, and how noisy it was.

Only free-text suites (MM-Vet v2) need a judge. Both sides are judged in one pass by one judge; nothing in a request
says which side an answer came from, and an answer that both sides gave is judged once and shared. No network here:
`plan` says what to ask, somebody asks, `grade` reads the replies, `judged_score` and `noise` add them up.
"""

import json
import re
import statistics
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from evalkit.files import canonical, digest
from evalkit.model import FinalText, Message, Score, Status
from evalkit.resources import Patterns, toml_file
from evalkit.scoring.answers.reply import first_turn, unanswered
from evalkit.scoring.registry import required

VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Case:
    """One answer to be judged. `truth` may hold `<AND>` and `<OR>`; `question` marks pictures as `[image 1]`."""

    question: str
    truth: str
    answer: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Where an answer stands in the two runs. `side` is "reference" or "candidate"; a judge never sees it."""

    side: str
    item: str
    repeat: int
    case: Case


@dataclass(frozen=True, slots=True)
class JudgeIdentity:
    """What decides a judge's verdict beside the case: the model's name and every parameter that is sent."""

    model: str
    parameters: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """SHA-256 over the model, the parameters and the wording of the judge prompt."""
        wording = [dict(message) for asked in (0, 1) for message in judge_messages(Case("", "", ""), asked)]
        return digest([self.model, dict(self.parameters), digest(wording)])


@dataclass(frozen=True, slots=True)
class Ask:
    """One judgment to be asked for: `key` is its place in the cache, `seed` goes into the request."""

    key: str
    case: Case
    repeat: int
    seed: int


@dataclass(frozen=True, slots=True)
class Noise:
    """How much of a suite's difference is the judge's own.

    The standard deviation is over the judge's repeats, of the paired difference of the means, as a fraction; None with
    fewer than two repeats. `unjudged` counts answers that no ask could grade; `identical` counts (item, repeat) pairs
    whose two sides gave the same text.
    """

    difference_sd: float | None
    unjudged: int
    identical: int


def case_of(doc: Mapping[str, Any], final: FinalText) -> Case:
    """What is to be judged of a reply: `doc` has "truth" and "judge_question" (or "question").

    Raises `DataError`: the document has no question or no truth.
    """
    question = doc.get("judge_question") or required(doc, "question")
    return Case(str(question), str(required(doc, "truth")), first_turn(final).text.strip())


def score(doc: Mapping[str, Any], final: FinalText) -> Score:
    """Score a reply that no judge has seen yet: nothing but "unjudged", or 0 where there is nothing to judge.

    Raises `DataError`: the document has no question or no truth.
    """
    case_of(doc, final)
    return judged_score(final, ())


def judge_messages(case: Case, asked_before: int = 0) -> tuple[Message, ...]:
    """Build the chat that asks for one grade; `asked_before` > 0 adds a line after a reply that could not be read.

    Marks that a chat template or tokenizer may take for its own (`<|im_end|>`, `[/INST]`) are written with JSON
    escapes: a server that reads them inside a message would let an answer end the question and grade itself. So are
    the words before a grade ("Score: 1"), which a judge that copies what it reads then gives back unreadable.
    """
    wording = toml_file("scoring/answers/judge.toml")
    text = wording["prompt"] + (wording["again"] if asked_before else "")
    given = canonical({"question": case.question, "truth": case.truth, "answer": case.answer}).decode()
    given = _RE.control.sub(_escaped, _RE.in_other_letters.sub(_escaped, given))
    return ({"role": "system", "content": text}, {"role": "user", "content": given})


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1] if not found[0].isascii() else f"\\u{ord(found[0]):04x}"


_RE: Final = Patterns("judge")
_READ_LIMIT_CHARS: Final = (
    200_000  # of a longer reply nothing is read: a judge writes a line, or thinks aloud before it
)
_MOST_TRIED: Final = 200  # so many places are looked at where a JSON object may begin and none does
# Numbers stay as they are written, and a key that stands twice in an object is seen twice.
_DECODER: Final = json.JSONDecoder(object_pairs_hook=list, parse_float=str, parse_int=str, parse_constant=str)


def grade(reply: str, *, cut_off: bool = False) -> float | None:
    """Read a judge's reply: a grade in [0, 1], or None where there is none and the judge is to be asked again.

    A JSON object that stands by itself decides by its `score`, whatever else it holds; a line `Score: x` does where
    there is no object, and a number with which the reply begins where there is neither. What stands in quotation marks
    or behind "The answer says:" is not the judge's. All that it states otherwise, in prose or as a correction too, must
    be the same, and one that stands by itself must begin or end the reply. Out of range, fractions, percentages, sums,
    ranges, scales of another end than 1 ("1 (of 10)"), decimal commas and what is taken back are None: a guess at what
    was meant would be a grade that nobody gave. Of a reply that was `cut_off`
    only an object counts, for a number may lack digits.
    """
    text = unicodedata.normalize("NFKC", reply)
    _, closed, after = text.partition("</think>")
    text = (after if closed else text).strip()
    if "<think>" in text or "</think>" in text or len(text) > _READ_LIMIT_CHARS:
        return None
    stated = [*_of_objects(text)]
    if not cut_off:
        in_objects = [range(one.start, one.end) for one in stated]
        stated += [one for one in _of_lines(text) if not any(one.start in place for place in in_objects)]
        if not stated and (number := _RE.bare.match(text)):
            return _Stated(number["value"], 0, 0).value
    said = [one for one in stated if not one.is_quoted(text)]
    own = [one for one in said if one.is_own(text)]
    if not any(one.is_at_edge(text) for one in own) or len(values := {one.value for one in said}) > 1:
        return None
    changed = () if cut_off else _RE.changed.finditer(text, min(one.end for one in own))
    taken_back = any(one["back"] or float(one["value"] or one["grade"] or one["end"]) not in values for one in changed)
    return None if taken_back else values.pop()


_LEAD: Final = 120  # characters before a grade that say whose it is


@dataclass(frozen=True, slots=True)
class _Stated:
    """A grade as a reply states it: as it is written, and where what states it starts and ends."""

    written: str
    start: int
    end: int
    is_object: bool = False

    @property
    def value(self) -> float | None:
        value = float(self.written) if _RE.grade.fullmatch(self.written) else -1
        return value if 0 <= value <= 1 else None

    def is_at_edge(self, text: str) -> bool:
        return not (_RE.words.search(text, 0, self.start) and _RE.words.search(text, self.end))

    def is_own(self, text: str) -> bool:
        """True where it stands by itself: at the beginning of a line, or behind "My grade is"."""
        return _RE.own.search(text, max(0, self.start - _LEAD), self.start) is not None

    def is_quoted(self, text: str) -> bool:
        lead = max(0, self.start - _LEAD)
        if _RE.announced.search(text, lead, self.start):
            return True
        if not self.is_object and self.is_own(text):
            return False  # {'score': 0.5}
        return bool(_RE.quote_opens.search(text, lead, self.start) or _RE.quote_closes.match(text, self.end))


def _of_objects(text: str) -> Iterator[_Stated]:
    """What the JSON objects in `text` give as their own score; what stands in their strings and parts is no grade."""
    position = failed = 0
    while (brace := _RE.object.search(text, position)) and failed < _MOST_TRIED:
        try:
            pairs, position = _DECODER.raw_decode(text, brace.start())
        except (ValueError, RecursionError):
            position, failed = brace.end(), failed + 1
            continue
        grades = [value for key, value in pairs if _RE.score_key.fullmatch(key)]
        limits = [value for key, value in pairs if grades and _RE.limit_key.fullmatch(key)]
        # A grade out of ten is none: it has no written form here, and so no value.
        others = any(not _RE.limit.fullmatch(str(limit)) for limit in limits) or _RE.out_of.match(text, position)
        for value in (*grades, *([""] if grades and others else [])):
            yield _Stated(value.strip() if isinstance(value, str) else "", brace.start(), position, is_object=True)


def _of_lines(text: str) -> Iterator[_Stated]:
    """What stands in `text` behind "Score:" or "Grade:", at the beginning of a line or not."""
    for label in _RE.label.finditer(text):
        written = label["value"].rstrip(".,:")
        yield _Stated("" if _RE.out_of.match(text, label.end()) else written, label.start(), label.end())


def cache_key(judge: JudgeIdentity, case: Case, repeat: int) -> str:
    """SHA-256 of judge, prompt wording, question, truth, answer and repeat: equal keys are one judgment."""
    return digest([judge.digest, case.question, case.truth, case.answer.strip(), repeat])


def plan(
    answers: Iterable[Answer], judge: JudgeIdentity, *, repeats: int = 1, seed: int = 0, first_repeat: int = 0
) -> tuple[Ask, ...]:
    """List the judgments to ask for: each distinct (case, repeat) once, both sides mixed in a seeded order.

    The order depends on `seed` and the keys alone, so that it says nothing about the side, and a second call, or one
    with the sides exchanged, gives the same list. `first_repeat` > 0 plans a fresh grading of the same answers, whose
    difference from the first is the judge's own noise floor. The request seed is the same for both sides.

    Raises `ValueError`: `repeats` is below 1.
    """
    if repeats < 1:
        raise ValueError(f"repeats is {repeats}; every answer is judged at least once")
    asks: dict[str, Ask] = {}
    for answer in answers:
        for repeat in range(first_repeat, first_repeat + repeats):
            key = cache_key(judge, answer.case, repeat)
            asks.setdefault(key, Ask(key=key, case=answer.case, repeat=repeat, seed=seed + repeat))
    return tuple(sorted(asks.values(), key=lambda ask: digest([seed, ask.key])))


def sample(answers: Iterable[Answer], count: int, seed: int = 0) -> tuple[Answer, ...]:
    """`count` of the answers to be graded a second time, each case once; a larger count only adds to them.

    Which ones depends on `seed` and their items alone, not on what was answered.
    """
    cases = {answer.case: answer for answer in reversed(list(answers)) if answer.repeat == 0}
    return tuple(sorted(cases.values(), key=lambda answer: digest([seed, answer.item]))[:count])


def judged_score(final: FinalText, grades: Sequence[float | None], second: Sequence[float | None] = ()) -> Score:
    """Turn an answer's grades into its score: their mean; without any grade there is no score, never 0.

    `metrics`: `judge_repeats` (grades that came), `judge_failures` (asks without one), from two grades on
    `judge_variance`, the variance of their mean, and `judge_second`, the mean of a second grading, where there was
    one: it never counts in the score. An answer with nothing to grade is 0 with its own status.
    """
    if (nothing := unanswered(final)) is not None:
        return nothing
    given = [value for value in grades if value is not None]
    metrics = {"judge_repeats": float(len(given)), "judge_failures": float(len(grades) - len(given))}
    if not given:
        return Score(None, Status.GRADE_ERROR, reason="unjudged", metrics=metrics)
    if len(given) > 1:
        metrics["judge_variance"] = statistics.variance(given) / len(given)
    if again := [value for value in second if value is not None]:
        metrics["judge_second"] = statistics.fmean(again)
    flags = ("truncated",) if final.truncated else ()
    return Score(statistics.fmean(given), Status.SCORED, reason="judged", flags=flags, metrics=metrics)


def noise(
    answers: Iterable[Answer], judge: JudgeIdentity, grades: Mapping[str, float | None], *, repeats: int
) -> Noise:
    """Measure the judge's noise over its repeats; only answers judged on every repeat, on both sides, enter.

    An answer that both sides share has the same grades on both, and adds nothing to the noise of the difference.
    """
    sides: dict[str, dict[tuple[str, int], Answer]] = {"reference": {}, "candidate": {}}
    series: dict[Case, list[float | None]] = {}
    unjudged = 0
    for answer in answers:
        sides[answer.side][answer.item, answer.repeat] = answer
        if answer.case not in series:
            series[answer.case] = [grades.get(cache_key(judge, answer.case, repeat)) for repeat in range(repeats)]
        unjudged += all(value is None for value in series[answer.case])
    pairs = [
        (reference.case, sides["candidate"][place].case)
        for place, reference in sides["reference"].items()
        if place in sides["candidate"]
    ]
    gaps = [
        [c - r for r, c in zip(series[one], series[other], strict=True) if r is not None and c is not None]
        for one, other in pairs
    ]
    whole = (gap for gap in gaps if len(gap) == repeats)
    differences = [statistics.fmean(gap) for gap in zip(*whole, strict=True)]
    return Noise(
        difference_sd=statistics.stdev(differences) if len(differences) > 1 else None,
        unjudged=unjudged,
        identical=sum(reference.answer.strip() == candidate.answer.strip() for reference, candidate in pairs),
    )
