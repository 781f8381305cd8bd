"""TheoremQA: evalkit's verdicts on stored model outputs beside those of the original rule, every difference classed.

    python benchmarks/agreement_theoremqa.py [FOLDER]

FOLDER holds theoremqa_test.jsonl (Question, Answer, Answer_type, Picture) and model_output_*.jsonl (question,
correct, solution, pred), the form of the authors' repository; the default is the folder of real rows beside the
checkout. Ends with 1 if a difference has no class. The original rule is written here from its description (split at
the last trigger, substring tests, 4 % for floats), with a number parser in the place of its `eval`.
"""

from __future__ import annotations

import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agreement.report import TABLES, json_lines

from evalkit.model import Score, Status
from evalkit.scoring.answers.number import SeveralAnswersError, read_list, read_number
from evalkit.scoring.answers.reply import final_text_of
from evalkit.scoring.theoremqa import score

DEFAULT = Path(__file__).resolve().parents[2] / "shared" / "data" / "theoremqa"


@dataclass(frozen=True)
class Case:
    """One stored output with both verdicts."""

    number: int
    kind: str
    pred: str
    original: bool
    ours: Score


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
    """The number that a prediction is; True and False are numbers for the original."""
    if pred in {"True", "False"}:
        return float(pred == "True")
    if "\n" in pred:
        return None  # prose, which `eval` would refuse
    try:
        number = read_number(pred)
    except SeveralAnswersError:
        return None
    return None if number is None else number.value


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
        ours = score({**doc, "has_picture": bool(row["Picture"])}, final_text_of(output["solution"]))
        yield Case(number, row["Answer_type"], output["pred"], original_rule(output["pred"], *output["correct"]), ours)


def class_of(case: Case) -> str | None:
    """Why the two verdicts differ; None where no class fits."""
    if case.original:
        return _class_of_loss(case)
    exact = case.kind == "float" and case.ours.answer is not None and as_number(case.pred) == float(case.ours.answer)
    tests = (
        ("absolute_tolerance", "absolute_tolerance" in case.ours.flags),
        ("substring", case.pred in {"True", "False"}),
        ("zero", exact),
        ("bracketed_list", case.kind.startswith("list") and case.pred.startswith("[") and read_list(case.pred)),
        ("text_behind", len(case.pred) > 40 or "\n" in case.pred or not case.pred.strip()),
        ("elsewhere", as_number(case.pred) is not None and case.kind != "option"),
    )
    return next((name for name, fits in tests if fits), "format")


def _class_of_loss(case: Case) -> str | None:
    """Why the original counts an answer as right and evalkit does not."""
    if case.ours.status is not Status.SCORED:
        return "substring" if case.pred in {"True", "False"} and case.kind == "bool" else "no_announcement"
    if case.ours.reason == "multiple":
        return "two_options" if case.kind == "option" else "format"
    if case.pred in {"True", "False"}:
        return "substring" if case.kind == "bool" else "truth_as_number"
    if case.ours.lenient:
        return {"integer": "rounded", "float": "four_percent"}.get(case.kind, "list_order")
    return "elsewhere"


def main(arguments: list[str]) -> int:
    """Print the agreement per model and the differences by class."""
    folder = Path(arguments[0]) if arguments else DEFAULT
    outputs = sorted(folder.glob("model_output_*.jsonl"))
    if not outputs:
        print(f"{folder} holds no model_output_*.jsonl: name the folder with the stored outputs.")
        return 2
    unclassed = 0
    print(f"{'outputs':44} {'items':>5} {'original':>9} {'evalkit':>8} {'at 4 %':>7} {'agree':>6}")
    counts: dict[str, Counter[tuple[str, bool]]] = {}
    for path in outputs:
        found = list(cases(folder, path))
        agree = [case for case in found if case.original == (case.ours.value == 1)]
        rates = [
            sum(values) / len(found)
            for values in (
                [case.original for case in found],
                [case.ours.value or 0 for case in found],
                [case.ours.metrics.get("acc_lenient4", 0) for case in found],
            )
        ]
        name = path.stem.removeprefix("model_output_")
        print(
            f"{name:44} {len(found):5} {rates[0]:9.4f} {rates[1]:8.4f} {rates[2]:7.4f} {len(agree) / len(found):6.1%}"
        )
        different = [case for case in found if case not in agree]
        counts[name] = Counter((class_of(case) or "unclassed", case.original) for case in different)
        unclassed += sum(number for (name_, _), number in counts[name].items() if name_ == "unclassed")
    for name, counter in counts.items():
        print(f"\n{name}: {counter.total()} differences\n  {'class':20} {'original only':>13} {'evalkit only':>12}")
        for kind, sentence in TABLES["theoremqa"].items():
            if counter[kind, True] or counter[kind, False]:
                print(f"  {kind:20} {counter[kind, True]:13} {counter[kind, False]:12}  {sentence}")
    print(f"\ndifferences without a class: {unclassed}")
    return 1 if unclassed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
