"""What an agreement run finds: counts per file, every disagreement with its class, and the page made from them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from evalkit.model import Score

UNCLASSED = "unclassed"

CLASSES = {
    "random": "The official rule found no letter and drew one at random (seeded); here the reply has no answer, or one "
    "that the official patterns cannot read.",
    "one_of_several": "The reply offers several letters; the official rule takes the last, here it is no answer.",
    "last_mention": "The reply mentions several options; the official rule takes the one mentioned last, whatever is "
    "said of it. Here it counts only where the reply settles on it.",
    "symbol": "The official rule reads a capital that stands alone (the article A, the pronoun I, a variable) as an "
    "option.",
    "denied": "The reply denies the option ('(B) is not ...'); the official rule takes it all the same.",
    "in_passing": "A long reply names one option somewhere in its middle and draws no conclusion; the official rule "
    "takes it, here a long reply must settle on it.",
    "nested_text": "One option's text lies inside another's; the official rule takes the shorter one.",
    "nested_options": "The options are published one level too deep, so the official rule knows a single option.",
    "two_decimals": "The official rule rounds both sides to two decimals (and works out what is written), so that "
    "different numbers are equal.",
    "one_letter_inside": "The official rule finds a one-letter answer anywhere in a text; here it must be named.",
    "prose": "The reply is prose without an answer line; the official scorer asked a language model to match it to an "
    "option. Here it is no answer; the suites ask for an answer line.",
    "contradiction": "The reply names two options in one breath ('D is the correct point (C)'); the official scorer's "
    "language model took the other one.",
    "published_form": "The published prediction is more than a letter, so that the official comparison calls it wrong.",
    "letter_and_value": "The box holds the option's letter and its value, '(C) 14'; the official rule reads neither.",
    "unit_left_on": "The official rule does not take a unit, a degree or per cent sign, or markup off a right result.",
    "bracket_left_on": "The official rule does not read the letter in a form such as 'C)' or 'Image B'.",
    "label_or_text": "The options' texts are letters themselves; here a letter is a label, the official rule also "
    "takes it for the text of another option.",
    "equal_spelling": "The answer is spelled as the truth but for spaces and case; the official rule cannot parse it.",
}
"""Every class is a property of the official rule; what fits none of them is `unclassed` and fails the run."""


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One item on which the two differ: in the verdict, or only in the answer read (both wrong)."""

    item: str
    cls: str
    official: float
    ours: float | None
    official_answer: str
    our_answer: str | None

    @property
    def same_verdict(self) -> bool:
        """True where both give the same value and only the answers read differ."""
        return self.official == self.ours


@dataclass(frozen=True, slots=True)
class Agreement:
    """One file of outputs under both scorers."""

    data_set: str
    file: str
    items: int
    official_right: float
    ours_right: float
    no_verdict: int
    disagreements: tuple[Disagreement, ...]

    @property
    def agreed(self) -> int:
        """Items with the same verdict."""
        return self.items - sum(not found.same_verdict for found in self.disagreements)

    @property
    def unclassed(self) -> tuple[Disagreement, ...]:
        """What no class explains: a defect here until shown otherwise."""
        return tuple(found for found in self.disagreements if found.cls not in CLASSES)


class Tally:
    """Collects one file's items."""

    def __init__(self, data_set: str, file: str) -> None:
        self._names = (data_set, file)
        self._items, self._official, self._ours, self._no_verdict = 0, 0.0, 0.0, 0
        self._found: list[Disagreement] = []

    def add(self, item: str, official: float, official_answer: str, score: Score, cls: str | None) -> None:
        """Count one item; `cls` is None where both agree."""
        self._items += 1
        self._official += official
        self._ours += score.value or 0.0
        self._no_verdict += score.value is None
        if cls is not None:
            self._found.append(Disagreement(item, cls, official, score.value, official_answer, score.answer))

    def done(self) -> Agreement:
        """The counts so far."""
        return Agreement(*self._names, self._items, self._official, self._ours, self._no_verdict, tuple(self._found))


def table(results: Iterable[Agreement]) -> list[str]:
    """Markdown rows: how often both agree, and what each of them gives."""
    rows = [
        "| data set | outputs | items | official right | evalkit right | same verdict | differ, classed | unclassed |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for found in results:
        differ = found.items - found.agreed
        open_cases = len(found.unclassed)
        rows.append(
            f"| {found.data_set} | {found.file} | {found.items} | {found.official_right:g} | {found.ours_right:g} | "
            f"{found.agreed / found.items:.2%} | {differ} | {open_cases} |"
        )
    return rows


def page(results: Sequence[Agreement], preface: str) -> str:
    """The whole document: the table, what the classes mean, and the ids in each, without any text of an item."""
    lines = [preface.rstrip(), "", *table(results), "", "## Classes", ""]
    used = {found.cls for result in results for found in result.disagreements}
    lines += [f"- **{name}**: {meaning}" for name, meaning in CLASSES.items() if name in used]
    lines += ["", "## Items", "", "Ids by file and class; in brackets those on which only the answer read differs.", ""]
    for result in results:
        if not result.disagreements:
            continue
        lines += [f"### {result.data_set}: {result.file}", ""]
        groups: dict[str, list[Disagreement]] = defaultdict(list)
        for found in result.disagreements:
            groups[found.cls].append(found)
        for name, members in sorted(groups.items()):
            gains = sum((found.ours or 0) > found.official for found in members)
            losses = sum((found.ours or 0) < found.official for found in members)
            ids = ", ".join(f"({found.item})" if found.same_verdict else found.item for found in members)
            lines.append(
                f"- **{name}** ({len(members)}; right only here {gains}, right only officially {losses}): {ids}"
            )
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def json_lines(path: Path) -> list[dict[str, object]]:
    """The objects of a JSONL file."""
    import orjson

    return [orjson.loads(line) for line in path.read_bytes().splitlines() if line.strip()]
