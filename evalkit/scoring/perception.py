"""OCRBench, BLINK and MM-Vet: their rows as documents, and OCRBench's rule; what a model sees, not what it has learnt.

BLINK (Fu et al., ECCV 2024) is scored by `evalkit.scoring.answers.letters`, MM-Vet (Yu et al.) by a judge model
(`evalkit.scoring.answers.judge`). OCRBench (Liu et al. 2024) is reading text in pictures: right where the reply
contains one of the answers. Its white-space rule depends on the source: of handwritten formulas (HME100k) all spaces
are removed on both sides and case counts; elsewhere case is folded and a line break is a space. Nothing else is
normalised: what the rule calls different (5,743 and 5743) stays different, as in every published number.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Final

from evalkit.files import digest
from evalkit.model import FinalText, Score
from evalkit.scoring.answers.reply import first_turn, scored, unanswered, without_answer
from evalkit.scoring.registry import required
from evalkit.scoring.rows import Document, Row, Settings, by_row, choices_of, columns_of, letter_of, text_of

VERSION: Final = 1

FORMULAS: Final = "HME100k"
_SHOWN_CHARS: Final = 400
_MMVET_MARK: Final = re.compile(r"(?:<IMG>)?<image_(\d{1,3})>(?:<IMG>)?")


@by_row
def ocrbench(row: Row, settings: Settings) -> Document:
    """OCRBench: `id, question, answers, dataset, type, group, images, nfkc`.

    `group` is the benchmark's five: the six recognition types together, the other four as they are.
    `settings["nfkc"]` (default False, the official rule) folds full-width letters before comparing.
    """
    given = row.get("answer", row.get("answers"))
    answers = [str(a) for a in given] if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    if not answers or not all(isinstance(answer, str) and answer.strip() for answer in answers):
        raise ValueError("has no answer, or an empty one, which would be contained in any reply")
    dataset = str(row.get("dataset") or row.get("dataset_name") or "")
    kind = text_of(row, "question_type", "type")
    question = text_of(row, "question")
    return {
        "id": f"{dataset}/{digest([question, *answers])[:12]}",
        "question": question,
        "answers": answers,
        "dataset": dataset,
        "type": kind,
        "group": "Text Recognition" if kind.endswith("Recognition") and "Mathematical" not in kind else kind,
        "images": columns_of(row, r"image()") or columns_of(row, r"image_path()"),
        "nfkc": bool(settings.get("nfkc", False)),
    }


@by_row
def blink(row: Row, _settings: Settings) -> Document:
    """BLINK: `id, question (with its options written out), choices, answer (letter), images, sub_task`."""
    choices = choices_of(row, "choices")
    images = columns_of(row, r"image_(\d+)")
    marks = " ".join(f"<image {place}>" for place in range(1, len(images) + 1))
    return {
        "id": text_of(row, "idx"),
        "question": f"{marks}\n{text_of(row, 'prompt').strip()}",
        "choices": choices,
        "answer": letter_of(text_of(row, "answer").strip().strip("()"), choices),
        "images": images,
        "sub_task": text_of(row, "sub_task"),
    }


@by_row
def mmvet(row: Row, _settings: Settings) -> Document:
    """MM-Vet v1 and v2: `id, question, judge_question, truth, images, capabilities, combination`.

    `truth` keeps its `<AND>` and `<OR>`; `judge_question` has `[image 1]` where a picture stood.
    """
    columns = columns_of(row, r"image_(\d+)") or columns_of(row, r"image()")
    places = {column.rpartition("_")[2]: place for place, column in enumerate(columns, 1)}

    def marked(template: str) -> str:
        def place(found: re.Match[str]) -> str:
            return template.format(places.get(found[1], int(found[1]) + 1))

        return _MMVET_MARK.sub(place, text_of(row, "question")).strip()

    capabilities = sorted(str(name) for name in row.get("capability") or ())
    return {
        "id": text_of(row, "id", "question_id"),
        "question": marked("<image {}>"),
        "judge_question": marked("[image {}]"),
        "truth": text_of(row, "answer"),
        "images": columns,
        "capabilities": capabilities,
        "combination": "+".join(capabilities),
    }


def score(doc: Mapping[str, Any], final: FinalText) -> Score:
    """Score a reply to a question of OCRBench: 1 where it contains one of `doc["answers"]`, else 0.

    A reply that was cut off is right where it already contains an answer, else it is TRUNCATED.

    Raises `DataError`: the document has no answer, or no source set.
    """
    answers = [str(answer) for answer in required(doc, "answers")]
    formula = required(doc, "dataset") == FORMULAS
    if (nothing := unanswered(final)) is not None:
        return nothing
    nfkc = bool(doc.get("nfkc", False))
    final = first_turn(final)
    read = _folded(final.text, formula=formula, nfkc=nfkc)
    contained = any(wanted in read for answer in answers if (wanted := _folded(answer, formula=formula, nfkc=nfkc)))
    if not contained and final.truncated:
        return without_answer(final)
    return scored(contained, final.text.strip()[:_SHOWN_CHARS], final)


def _folded(text: str, *, formula: bool, nfkc: bool) -> str:
    if nfkc:
        text = unicodedata.normalize("NFKC", text)
    text = text.strip().replace("\n", " ")
    return text.replace(" ", "") if formula else text.lower()
