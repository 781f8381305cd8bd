"""TheoremQA: evalkit's verdicts on stored model outputs beside those of the original rule, every difference classed.

    python benchmarks/agreement_theoremqa.py [FOLDER]

FOLDER holds theoremqa_test.jsonl (Question, Answer, Answer_type, Picture) and model_output_*.jsonl (question,
correct, solution, pred), the form of the authors' repository; the default is the folder of real rows beside the
checkout. Ends with 1 if a difference has no class. The original rule is written here from its description (split at
the last trigger, substring tests, 4 % for floats), with a number parser in the place of its `eval`.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agreement.report import TABLES, json_lines

from evalkit.model import Score
from evalkit.scoring.answers.number import SeveralAnswersError, read_list, read_number
from evalkit.scoring.answers.reply import Place, boxes, final_text_of, places
from evalkit.scoring.theoremqa import score

TRUTH_WORD = re.compile(r"(?i)\W*(?:true|false|yes|no)\b")
NUMERIC = re.compile(r"\d|\\[a-z]|[π∞√]")
PAIR = re.compile(r"\(\d{1,3}(?:, \d+(?:\.\d+)?)+\)")
LONGEST_FORM = 40  # characters; a longer prediction is more than an answer
DEFAULT = Path(__file__).resolve().parents[2] / "shared" / "data" / "theoremqa"


@dataclass(frozen=True)
class Case:
    """One stored output with both verdicts.

    `alone` says that evalkit takes the stored prediction by itself for the right answer.
    """

    number: int
    question: str
    kind: str
    pred: str
    solution: str
    original: bool
    ours: Score
    alone: bool

    @property
    def announced(self) -> list[str]:
        """What the lines and boxes that announce an answer say, in order."""
        found = [(place.start, self.solution[place.start :].partition("\n")[0]) for place in self.places]
        return [field for _, field in sorted(found + [(box.start, box.content) for box in boxes(self.solution)])]

    @property
    def places(self) -> list[Place]:
        """Where an answer is announced in words."""
        return [place for place in places(self.solution) if place.said]

    @property
    def stands_behind(self) -> bool:
        """The stored prediction is, or begins with, what stands behind the line of the first announced answer."""
        first = next((place.start for place in self.places), len(self.solution))
        return self.pred.strip()[:LONGEST_FORM] in self.solution[first:].partition("\n")[2]


def original_rule(pred: str, text: str, value: Any) -> bool:
    """The repository's comparison of a stored prediction with the truth, given as text and, where it has one, value."""
    if re.fullmatch(r"\([a-f]\)", text.lower()):
        return text.lower() in pred.lower()
    if pred.lower() == text.lower():
        return True
    if isinstance(value, list):
        bracketed = pred.startswith("(") and pred.endswith(")")
        numbers = read_list(pred) if bracketed else None
        if numbers is None or len(numbers) != len(value):
            return False
        return all(map(within, sorted(number.value for number in numbers), sorted(value)))
    number = as_number(pred)
    return number is not None and value is not None and within(number, value)


def within(number: float, truth: float) -> bool:
    """Rounded equality for an integer, 4 % for a float."""
    return round(number) == truth if isinstance(truth, int) else abs(number - truth) <= 0.04 * abs(truth)


def as_number(pred: str) -> float | None:
    """The number that a prediction is, or that what follows its last "=" begins with; True is a number as well."""
    if pred in {"True", "False"}:
        return float(pred == "True")
    if "\n" in pred:
        return None  # prose, which `eval` would refuse
    try:
        number = read_number(pred)
    except SeveralAnswersError:
        return None
    begins = re.match(r"\s*[-+]?\d+(?:\.\d+)?(?!\d)", pred.rpartition("=")[2])
    return number.value if number else float(begins[0]) if begins else None


def cases(folder: Path, outputs: Path) -> Iterator[Case]:
    """The stored outputs of one model with both verdicts."""
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in json_lines(folder / "theoremqa_test.jsonl"):
        rows[row["Question"].strip()].append(row)
    for number, output in enumerate(json_lines(outputs)):
        twins = rows[output["question"].strip()]
        # One question occurs twice; the outputs keep the order of the rows.
        row = twins.pop(0) if len(twins) > 1 else twins[0]
        doc = {"question": row["Question"], "answer": row["Answer"], "answer_type": row["Answer_type"]}
        doc["has_picture"] = bool(row["Picture"])
        pred, solution = output["pred"], output["solution"]
        yield Case(
            number,
            row["Question"],
            row["Answer_type"],
            pred,
            solution,
            original_rule(pred, *output["correct"]),
            score(doc, final_text_of(solution)),
            score(doc, final_text_of(f"Answer: {pred}")).value == 1,
        )


def class_of(case: Case) -> str | None:
    """Why the two verdicts differ; None where no class fits."""
    if case.original:
        return _class_of_loss(case)
    brief = len(case.pred) <= LONGEST_FORM and "\n" not in case.pred.strip()
    given = as_number(case.pred) if case.kind == "float" and brief else None
    tests = (
        ("absolute_tolerance", "absolute_tolerance" in case.ours.flags),
        ("substring", case.pred in {"True", "False"}),
        ("zero", given is not None and given == float(case.ours.answer or "nan")),
        ("thousands", PAIR.fullmatch(case.pred) and not case.kind.startswith("list")),
        ("format", brief and case.alone),
        ("text_behind", case.stands_behind),
        ("elsewhere", case.pred in case.solution),
    )
    return next((name for name, fits in tests if fits), None)


def _class_of_loss(case: Case) -> str | None:
    """Why the original counts an answer as right and evalkit does not."""
    truth_word = case.pred in {"True", "False"}
    unread, last = case.ours.answer is None, case.announced[-1:]
    other = not unread and any(case.ours.answer.lower() in field.lower() for field in last)
    tests = (
        ("truth_as_number", truth_word and case.kind != "bool"),
        ("two_options", case.kind == "option" and case.ours.reason == "multiple"),
        (
            {"integer": "rounded", "float": "four_percent"}.get(case.kind, "list_order"),
            not unread and case.ours.lenient,
        ),
        ("no_announcement", unread and not case.announced),
        ("substring", truth_word and unread and not any(map(TRUTH_WORD.match, case.announced))),
        ("other_type", unread and case.kind != "option" and not any(map(NUMERIC.search, case.announced))),
        ("text_behind", other and case.stands_behind),
        ("elsewhere", other),
    )
    return next((name for name, fits in tests if fits), None)


def is_held(case: Case) -> bool:
    """Whether the item belongs to the half at which nobody looked while the rules were made."""
    return hashlib.sha256(case.question.strip().encode()).digest()[-1] % 2 == 1


def rates_of(found: Sequence[Case]) -> str:
    """The cells of a line of the first table: how many, the three rates, the agreement."""
    columns = (
        [case.original for case in found],
        [case.ours.value or 0 for case in found],
        [case.ours.metrics.get("acc_lenient4", 0) for case in found],
    )
    original, ours, lenient = (sum(values) / len(found) for values in columns)
    agree = sum(case.original == (case.ours.value == 1) for case in found) / len(found)
    return f"{len(found):5} {original:9.4f} {ours:8.4f} {lenient:7.4f} {agree:6.1%}"


def main(arguments: list[str]) -> int:
    """Print the agreement per model and half, and the differences by class; those without one item by item."""
    folder = Path(arguments[0]) if arguments else DEFAULT
    outputs = sorted(folder.glob("model_output_*.jsonl"))
    if not outputs:
        print(f"{folder} holds no model_output_*.jsonl: name the folder with the stored outputs.")
        return 2
    found = {path.stem.removeprefix("model_output_"): list(cases(folder, path)) for path in outputs}
    print(f"{'outputs':44} {'items':>5} {'original':>9} {'evalkit':>8} {'at 4 %':>7} {'agree':>6}")
    for name, all_of in found.items():
        print(f"{name:44} {rates_of(all_of)}")
        for half, held in (("making half", False), ("held half", True)):
            if of_half := [case for case in all_of if is_held(case) == held]:
                print(f"  {half:42} {rates_of(of_half)}")
    unclassed = []
    for name, all_of in found.items():
        different = [(case, class_of(case)) for case in all_of if case.original != (case.ours.value == 1)]
        unclassed += [
            f"{name} {case.number}: {case.pred!r:.60} and {case.ours.answer!r}" for case, c in different if not c
        ]
        counter = Counter((kind, case.original) for case, kind in different)
        print(f"\n{name}: {counter.total()} differences\n  {'class':20} {'original only':>13} {'evalkit only':>12}")
        for kind, sentence in TABLES["theoremqa"].items():
            if counter[kind, True] or counter[kind, False]:
                print(f"  {kind:20} {counter[kind, True]:13} {counter[kind, False]:12}  {sentence}")
    print("", *unclassed, f"differences without a class: {len(unclassed)}", sep="\n")
    return 1 if unclassed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
