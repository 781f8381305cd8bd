"""From the rows of the multimodal data sets, as published, to the documents that prompts and scorers read.

One function a suite, `(rows, options) -> documents`, for `metadata.evalkit.prepare`. Documents come in the order of the
rows, none left out. Pictures are neither decoded nor copied: `images` names the columns that hold them, in the order in
which the text counts them, and a mark `<image 2>` in `question` (or in a choice) stands for the second of them.
Pictures without a mark belong in front of the text. A row that cannot be used raises ValueError with its number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from evalkit.files import digest
from evalkit.scoring.multimodal.fields import (
    LETTERS,
    Document,
    Pictures,
    Row,
    choices_of,
    columns_of,
    each,
    label_of,
    lettered,
    pictures_of,
    text_of,
    truths_of,
)

_CMMMU_MARK: Final = re.compile(r"<img=\"([^\"<>]{1,300})\">")
_MATHVISION_MARK: Final = re.compile(r"<image(\d{1,2})>")
_MMVET_MARK: Final = re.compile(r"(?:<IMG>)?<image_(\d{1,3})>(?:<IMG>)?")
_CMMMU_TYPES: Final = {"选择": "choice", "判断": "true_false", "填空": "fill"}

_DISCIPLINES: Final = {
    "Art and Design": ("Art", "Art_Theory", "Design", "Music"),
    "Business": ("Accounting", "Economics", "Finance", "Manage", "Marketing"),
    "Science": ("Biology", "Chemistry", "Geography", "Math", "Physics"),
    "Health and Medicine": (
        "Basic_Medical_Science",
        "Clinical_Medicine",
        "Diagnostics_and_Laboratory_Medicine",
        "Pharmacy",
        "Public_Health",
    ),
    "Humanities and Social Science": ("History", "Literature", "Sociology", "Psychology"),
    "Tech and Engineering": (
        "Agriculture",
        "Architecture_and_Engineering",
        "Computer_Science",
        "Electronics",
        "Energy_and_Power",
        "Materials",
        "Mechanical_Engineering",
    ),
}
DISCIPLINE_OF: Final[Mapping[str, str]] = {s: name for name, subjects in _DISCIPLINES.items() for s in subjects}
"""MMMU's 30 subjects and their six disciplines (Yue et al. 2024, figure 3)."""


def mmmu(rows: Iterable[Row], _options: Mapping[str, Any]) -> list[Document]:
    """MMMU: `id, type ("choice", "open"), question, choices, options, answer, answers, images, subject, discipline`.

    `options` are the choices as lines "A. ..."; `answer` is the letter, or the first of an open question's `answers`.
    """
    return each(_mmmu, rows)


def mmmu_pro(rows: Iterable[Row], _options: Mapping[str, Any]) -> list[Document]:
    """MMMU-Pro, standard or vision (told by the `image` column): the fields of `mmmu`, all of type "choice"."""
    return each(_mmmu_pro, rows)


def cmmmu(rows: Iterable[Row], _options: Mapping[str, Any]) -> list[Document]:
    """CMMMU: `id, type ("choice", "true_false", "fill"), question, choices, options, answer, images, discipline, ...`.

    `answer` is a sorted row of letters ("B", "ACD"), 对 or 错, or the text to be filled in.
    """
    return each(_cmmmu, rows)


def cii_bench(rows: Iterable[Row], _options: Mapping[str, Any]) -> list[Document]:
    """CII-Bench: `id, question, choices (6), options, answer, images, domain, emotion, difficulty, rhetoric`."""
    return each(_cii_bench, rows)


def blink(rows: Iterable[Row], _options: Mapping[str, Any]) -> list[Document]:
    """BLINK: `id, question (with its options written out), choices, answer (letter), images, sub_task`."""
    return each(_blink, rows)


def mathvision(rows: Iterable[Row], _options: Mapping[str, Any]) -> list[Document]:
    r"""MathVision: `id, type ("choice", "open"), question, choices, options, answer, images, level, subject`.

    Damaged answers are mended and listed under `mended`: a TeX command whose backslash had become a control
    character, units in braces (`69{degrees}`), and blanks at the ends.
    """
    return each(_mathvision, rows)


def ocrbench(rows: Iterable[Row], options: Mapping[str, Any]) -> list[Document]:
    """OCRBench: `id, question, answers, dataset, type, group, images, nfkc`.

    `group` is the benchmark's five: the six recognition types together, the other four as they are.
    `options["nfkc"]` (default False, the official rule) folds full-width letters before comparing.
    """
    documents = each(_ocrbench, rows)
    seen: dict[str, int] = {}
    for document in documents:
        count = seen[document["id"]] = seen.get(document["id"], 0) + 1
        if count > 1:
            document["id"] += f"-{count}"
        document["nfkc"] = bool(options.get("nfkc", False))
    return documents


def mmvet(rows: Iterable[Row], _options: Mapping[str, Any]) -> list[Document]:
    """MM-Vet v1 and v2: `id, question, judge_question, truth, images, capabilities, combination`.

    `truth` keeps its `<AND>` and `<OR>`; `judge_question` has `[image 1]` where a picture stood.
    """
    return each(_mmvet, rows)


# ---------------------------------------------------------------- one row each


def _mmmu(row: Row) -> Document:
    identity = text_of(row, "id")
    images, question = pictures_of(row, r"image_(\d+)", text_of(row, "question"))
    is_open = text_of(row, "question_type") == "open"
    choices = [] if is_open else choices_of(row, images)
    answers = truths_of(text_of(row, "answer"))
    if not is_open and answers[0] not in LETTERS[: len(choices)]:
        raise ValueError(f"({identity}) has the answer {answers[0]!r}, which is none of its {len(choices)} options")
    subject = re.sub(r"^(?:dev|validation|test)_|_\d+$", "", identity)
    return {
        "id": identity,
        "type": "open" if is_open else "choice",
        "question": question,
        "choices": choices,
        "options": lettered(choices),
        "answer": answers[0],
        "answers": answers,
        "images": images.columns,
        "subject": subject,
        "discipline": DISCIPLINE_OF.get(subject, "unknown"),
        "difficulty": str(row.get("topic_difficulty") or "unknown"),
    }


def _mmmu_pro(row: Row) -> Document:
    identity = text_of(row, "id")
    vision = row.get("image") is not None
    text = "<image 1>" if vision else text_of(row, "question")
    images, question = pictures_of(row, r"image()" if vision else r"image_(\d+)", text)
    choices = choices_of(row, Pictures([], {}) if vision else images)
    answer = text_of(row, "answer")
    if answer not in LETTERS[: len(choices)]:
        raise ValueError(f"({identity}) has the answer {answer!r}, which is none of its {len(choices)} options")
    subject = text_of(row, "subject")
    return {
        "id": identity,
        "type": "choice",
        "question": question,
        "choices": choices,
        "options": lettered(choices),
        "answer": answer,
        "answers": [answer],
        "images": images.columns,
        "subject": subject,
        "discipline": DISCIPLINE_OF.get(subject.replace(" ", "_"), "unknown"),
        "difficulty": str(row.get("topic_difficulty") or "unknown"),
    }


def _cmmmu(row: Row) -> Document:
    kind = _CMMMU_TYPES.get(text_of(row, "type"))
    if kind is None:
        raise ValueError(f"has the type {row['type']!r}; known are {', '.join(_CMMMU_TYPES)}")
    columns = columns_of(row, r"image_(\d+)")
    places = {str(row.get(f"{column}_filename")): place for place, column in enumerate(columns, 1)}

    def mark(found: re.Match[str]) -> str:
        place = places.get(found[1])
        return f"<image {place}>" if place else f"[{found[1]}]"

    named = [str(row.get(f"option{n}") or "").strip() for n in range(1, 5)]
    choices = [] if kind != "choice" else [_CMMMU_MARK.sub(mark, text) for text in named if text not in {"", "-"}]
    answer = text_of(row, "answer").strip()
    if kind == "choice":
        answer = "".join(sorted(set(answer.upper()) & set(LETTERS)))
        if not answer or answer[-1] not in LETTERS[: len(choices)]:
            raise ValueError(f"has the answer {row['answer']!r}, which is none of its {len(choices)} options")
    return {
        "id": text_of(row, "id"),
        "type": kind,
        "question": _CMMMU_MARK.sub(mark, text_of(row, "question")),
        "choices": choices,
        "options": lettered(choices),
        "answer": answer,
        "images": columns,
        "discipline": str(row.get("category") or "unknown"),
        "subject": str(row.get("subcategory") or "unknown"),
        "difficulty": str(row.get("difficulty_level") or "unknown"),
    }


def _cii_bench(row: Row) -> Document:
    choices = [text_of(row, f"option{n}").strip() for n in range(1, 7)]
    answer = text_of(row, "answer").strip()
    if answer not in LETTERS[: len(choices)]:
        raise ValueError(f"has the answer {answer!r}, which is none of its {len(choices)} options")
    identity = text_of(row, "id")
    return {
        "id": identity,
        "question": text_of(row, "question").strip(),
        "choices": choices,
        "options": lettered(choices),
        "answer": answer,
        "images": columns_of(row, r"image()"),
        "domain": label_of(row.get("domain")),
        "emotion": label_of(row.get("emotion")),
        "difficulty": label_of(row.get("difficulty")),
        "rhetoric": label_of(row.get("rhetoric")),
    }


def _blink(row: Row) -> Document:
    identity = text_of(row, "idx")
    choices = [str(choice).strip() for choice in row.get("choices") or ()]
    answer = text_of(row, "answer").strip().strip("()")
    if len(answer) != 1 or answer not in LETTERS[: len(choices)]:
        raise ValueError(f"({identity}) has the answer {row['answer']!r}, which is none of its {len(choices)} options")
    images = columns_of(row, r"image_(\d+)")
    marks = " ".join(f"<image {place}>" for place in range(1, len(images) + 1))
    return {
        "id": identity,
        "question": f"{marks}\n{text_of(row, 'prompt').strip()}",
        "choices": choices,
        "answer": answer,
        "images": images,
        "sub_task": text_of(row, "sub_task"),
    }


def _mathvision(row: Row) -> Document:
    choices = [str(option).strip() for option in row.get("options") or ()]
    given = text_of(row, "answer")
    answer = _mended(given)
    if choices and answer not in LETTERS[: len(choices)]:
        raise ValueError(f"has the answer {given!r}, which is none of its {len(choices)} options")
    question = text_of(row, "question").strip()
    marks = set(_MATHVISION_MARK.findall(question))
    # One picture an item; several marks name parts of it, so the picture goes in front and they stay words.
    question = _MATHVISION_MARK.sub("<image 1>" if len(marks) == 1 else r"[figure \1]", question)
    return {
        "id": text_of(row, "id"),
        "type": "choice" if choices else "open",
        "question": question,
        "choices": choices,
        "options": lettered(choices),
        "answer": answer,
        "images": columns_of(row, r"decoded_image()") or columns_of(row, r"image()"),
        "level": str(row.get("level")),
        "subject": text_of(row, "subject"),
        "mended": given if given != answer else "",
    }


def _ocrbench(row: Row) -> Document:
    answers = row.get("answer", row.get("answers"))
    answers = [str(a) for a in answers] if isinstance(answers, Sequence) and not isinstance(answers, str) else [answers]
    if not answers or not all(isinstance(a, str) and a.strip() for a in answers):
        raise ValueError("has no answer, or an empty one, which would be contained in any reply")
    dataset = str(row.get("dataset") or row.get("dataset_name") or "")
    kind = text_of(row, "question_type" if row.get("question_type") else "type")
    question = text_of(row, "question")
    return {
        "id": f"{dataset}/{digest([question, *answers])[:12]}",
        "question": question,
        "answers": answers,
        "dataset": dataset,
        "type": kind,
        "group": "Text Recognition" if kind.endswith("Recognition") and "Mathematical" not in kind else kind,
        "images": columns_of(row, r"image()") or columns_of(row, r"image_path()"),
    }


def _mmvet(row: Row) -> Document:
    columns = columns_of(row, r"image_(\d+)") or columns_of(row, r"image()")
    places = {column.rpartition("_")[2]: place for place, column in enumerate(columns, 1)}

    def marked(template: str) -> Callable[[re.Match[str]], str]:
        return lambda found: template.format(places.get(found[1], int(found[1]) + 1))

    question = text_of(row, "question")
    capabilities = sorted(str(name) for name in row.get("capability") or ())
    return {
        "id": text_of(row, "id" if row.get("id") is not None else "question_id"),
        "question": _MMVET_MARK.sub(marked("<image {}>"), question).strip(),
        "judge_question": _MMVET_MARK.sub(marked("[image {}]"), question).strip(),
        "truth": text_of(row, "answer"),
        "images": columns,
        "capabilities": capabilities,
        "combination": "+".join(capabilities),
    }


def _mended(answer: str) -> str:
    mended = re.sub(r"\x0c(?=[a-z])", r"\\f", answer)
    mended = re.sub(r"\{(?:square)?(?:degrees|inches)\}", "", mended)
    return mended.strip()
