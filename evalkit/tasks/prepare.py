"""From the rows of a data set, as its publisher ships them, to the documents that evalkit's prompts and scorers read.

A suite's YAML names one of these functions under `metadata.evalkit.prepare`. Each takes the raw rows of one split and
the suite's options, and gives documents with an `id` that is the same whatever mirror or file format the rows came
from. They are pure; a row that cannot be used raises ValueError with the row's number and the reason.
"""

from __future__ import annotations

import ast
import hashlib
import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

Rows: TypeAlias = Sequence[Mapping[str, Any]]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

# TeX commands whose backslash a careless JSON or Python string turned into a control character.
_EATEN = {"\x07": r"\a", "\x08": r"\b", "\t": r"\t", "\x0b": r"\v", "\x0c": r"\f", "\r": r"\r"}


def clean(value: object) -> str:
    """Text with LF line ends and no surrounding white space; "" for None."""
    return "" if value is None else str(value).replace("\r\n", "\n").strip()


def restore_tex(text: str) -> str:
    r"""Text in which control characters before a letter are TeX commands again ("\x0crac" is "\frac").

    Raises:
        ValueError: where a control character other than line feed remains.
    """
    repaired = re.sub(r"[\x07\x08\t\x0b\x0c\r](?=[A-Za-z])", lambda match: _EATEN[match.group()], text)
    if bad := re.search(r"[\x00-\x09\x0b-\x1f]", repaired):
        raise ValueError(f"holds the control character U+{ord(bad.group()):04X}")
    return repaired


def content_id(*parts: str) -> str:
    """Twelve hexadecimal digits that stand for the given texts."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:12]


def _field(row: Mapping[str, Any], *names: str) -> Any:
    for name in names:
        if row.get(name) is not None:
            return row[name]
    raise ValueError(f"has none of the columns {', '.join(names)} (it has {', '.join(map(str, row))})")


def number_repeats(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The documents with "-2", "-3" ... put behind ids that occur again, in order."""
    seen: dict[str, int] = {}
    for document in documents:
        count = seen[document["id"]] = seen.get(document["id"], 0) + 1
        if count > 1:
            document["id"] = f"{document['id']}-{count}"
    return documents


def each(
    function: Callable[[Mapping[str, Any]], dict[str, Any]], rows: Iterable[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """`function` over the rows; a ValueError is given the row's number."""
    documents = []
    for number, row in enumerate(rows):
        try:
            documents.append(function(row))
        except ValueError as error:
            raise ValueError(f"row {number} {error}") from error
    return documents


def plain(rows: Rows, _options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows as they are, with an `id` made from their content where they have none."""

    def one(row: Mapping[str, Any]) -> dict[str, Any]:
        fields = {key: value for key, value in row.items() if not key.startswith("_")}
        identity = fields.get("id") or content_id(*(str(fields[key]) for key in sorted(fields)))
        return {**fields, "id": str(identity)}

    return number_repeats(each(one, rows))


def aime(rows: Rows, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """AIME: `id, problem, answer (int 0 to 999), year, part`; eaten TeX backslashes are put back."""
    year = int(options["year"])

    def one(row: Mapping[str, Any]) -> dict[str, Any]:
        problem = restore_tex(clean(_field(row, "problem", "Problem", "question")))
        answer = int(str(_field(row, "answer", "Answer")))
        if not 0 <= answer <= 999:
            raise ValueError(f"has the answer {answer}, which is not from 0 to 999")
        given = clean(row.get("id", row.get("ID", "")))
        matched = re.fullmatch(r"(\d{4})-(II?)-(\d+)", given)
        part = matched.group(2) if matched else ""
        identity = given if matched else f"{year}-{given or content_id(problem)}"
        return {"id": identity, "problem": problem, "answer": answer, "year": year, "part": part}

    return number_repeats(each(one, rows))


def _letters(document: dict[str, Any]) -> dict[str, Any]:
    choices = document["choices"]
    lettered = [f"{letter}) {text}" for letter, text in zip(LETTERS, choices, strict=False)]
    return {**document, "options": "\n".join(lettered)}


def gpqa(rows: Rows, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """GPQA: `id, question, choices (4, shuffled by item), answer (letter), domain, subdomain, subsets`.

    The order of the options comes from a hash of the item's Record ID, so it is the same on every machine; with
    several subsets in one suite an item stands once and `subsets` says in how many it is (its weight).
    """
    order: dict[str, dict[str, Any]] = {}
    for document in each(_gpqa_row, rows):
        known = order.setdefault(document["id"], document)
        if known is not document:
            known["subsets"] += 1
    repeated = options.get("count_copies", True)
    return [document if repeated else {**document, "subsets": 1} for document in order.values()]


def _gpqa_row(row: Mapping[str, Any]) -> dict[str, Any]:
    record = clean(_field(row, "Record ID"))
    texts = [clean(_field(row, "Correct Answer"))]
    texts += [clean(_field(row, f"Incorrect Answer {number}")) for number in (1, 2, 3)]
    if not all(texts):
        raise ValueError(f"({record}) has an empty option")
    seed = hashlib.sha256(f"evalkit-gpqa-v1|{record}".encode()).hexdigest()
    places = list(range(4))
    random.Random(seed).shuffle(places)  # noqa: S311 - a fixed permutation, no secret
    return _letters(
        {
            "id": record,
            "question": clean(_field(row, "Question")),
            "choices": [texts[place] for place in places],
            "answer": LETTERS[places.index(0)],
            "domain": clean(row.get("High-level domain")) or "unknown",
            "subdomain": clean(row.get("Subdomain")) or "unknown",
            "subsets": 1,
        }
    )


def mmlu(rows: Rows, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """MMLU: `id, question, choices (4), answer (letter), subject, subject_name, category, header`.

    `header` is true for the first development row of each subject, which carries the subject's header line. With
    `options["share"]`, that share of each subject's items is kept, chosen by a hash of the question.
    """
    started: set[str] = set()

    def one(row: Mapping[str, Any]) -> dict[str, Any]:
        subject = clean(_field(row, "subject")).replace(" ", "_")
        question = clean(_field(row, "question"))
        choices = [clean(choice) for choice in _list(_field(row, "choices"))]
        answer = _letter(_field(row, "answer"), len(choices))
        first = subject not in started
        started.add(subject)
        document = {
            "id": f"{subject}/{content_id(question, *choices, answer)}",
            "question": question,
            "choices": choices,
            "answer": answer,
            "subject": subject,
            "subject_name": subject.replace("_", " "),
            "category": MMLU_CATEGORY.get(subject, "other"),
            "header": first,
            "shot_header": str(options.get("shot_header", "")),
            "answer_index": LETTERS.index(answer),
        }
        return {**document, "options": "\n".join(f"{a}. {b}" for a, b in zip(LETTERS, choices, strict=False))}

    documents = number_repeats(each(one, rows))
    share = options.get("share")
    if share is None or options.get("_split") != "test":
        return documents
    return share_of_each(documents, "subject", float(share))


def share_of_each(documents: list[dict[str, Any]], field: str, share: float) -> list[dict[str, Any]]:
    """The given share (rounded up) of the documents of each value of `field`, chosen by a hash of the id."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for document in documents:
        groups.setdefault(document[field], []).append(document)
    kept: set[str] = set()
    for members in groups.values():
        ranked = sorted(members, key=lambda document: content_id(document["id"]))
        kept.update(document["id"] for document in ranked[: -int(-len(members) * share // 1)])
    return [document for document in documents if document["id"] in kept]


def _letter(answer: object, count: int) -> str:
    text = str(answer).strip()
    index = int(text) if text.isdigit() else LETTERS.find(text.upper())
    if not 0 <= index < count:
        raise ValueError(f"has the answer {answer!r}, which is none of its {count} options")
    return LETTERS[index]


def _list(value: object) -> list[Any]:
    if isinstance(value, str):
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError) as error:
            raise ValueError("has options that are no list") from error
    values = list(value) if isinstance(value, Iterable) else []
    if len(values) < 2:
        raise ValueError("has fewer than two options")
    return values


def musr(rows: Rows, _options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """MuSR: `id, narrative, question, choices, answer (letter), domain, story`; `story` is shared by its questions."""

    def one(row: Mapping[str, Any]) -> dict[str, Any]:
        narrative = clean(_field(row, "narrative", "context"))
        question = clean(_field(row, "question"))
        choices = [clean(choice) for choice in _list(_field(row, "choices"))]
        answer = _letter(_field(row, "answer_index"), len(choices))
        text = row.get("answer_choice")
        if text is not None and clean(text) != choices[LETTERS.index(answer)]:
            raise ValueError("has an answer_index and an answer_choice that disagree")
        domain = str(row["_part"])
        document = {
            "id": f"{domain}/{content_id(narrative, question, *choices)}",
            "narrative": narrative,
            "question": question,
            "choices": choices,
            "answer": answer,
            "domain": domain,
            "story": content_id(narrative),
        }
        return _letters(document)

    return number_repeats(each(one, rows))


def mmlu_pro(rows: Rows, _options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """MMLU-Pro: `id, question, choices (3 to 10), answer (letter), category`; placeholder options are dropped."""

    def one(row: Mapping[str, Any]) -> dict[str, Any]:
        question = clean(_field(row, "question"))
        given = [clean(choice) for choice in _list(_field(row, "options"))]
        answer = given[LETTERS.index(_letter(_field(row, "answer", "answer_index"), len(given)))]
        choices = [choice for choice in given if choice != "N/A"]
        document = {
            "id": f"{row.get('question_id') or content_id(question, *choices)}",
            "question": question,
            "choices": choices,
            "answer": LETTERS[choices.index(answer)],
            "category": clean(_field(row, "category")),
        }
        return _letters(document)

    return number_repeats(each(one, rows))


def math_500(rows: Rows, _options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """MATH-500: `id, problem, answer (LaTeX), subject, level`."""

    def one(row: Mapping[str, Any]) -> dict[str, Any]:
        problem = clean(_field(row, "problem"))
        answer = clean(_field(row, "answer"))
        if not answer:
            raise ValueError("has an empty answer")
        return {
            "id": clean(row.get("unique_id")) or content_id(problem),
            "problem": problem,
            "answer": answer,
            "subject": clean(row.get("subject")) or "unknown",
            "level": str(row.get("level", "")),
        }

    return number_repeats(each(one, rows))


def _categories() -> dict[str, str]:
    """MMLU's subjects by category; the map of the original repository (hendrycks/test, categories.py)."""
    stem = """abstract_algebra astronomy college_biology college_chemistry college_computer_science
        college_mathematics college_physics computer_security conceptual_physics electrical_engineering
        elementary_mathematics high_school_biology high_school_chemistry high_school_computer_science
        high_school_mathematics high_school_physics high_school_statistics machine_learning"""
    humanities = """formal_logic high_school_european_history high_school_us_history high_school_world_history
        international_law jurisprudence logical_fallacies moral_disputes moral_scenarios philosophy prehistory
        professional_law world_religions"""
    social = """econometrics high_school_geography high_school_government_and_politics
        high_school_macroeconomics high_school_microeconomics high_school_psychology human_sexuality
        professional_psychology public_relations security_studies sociology us_foreign_policy"""
    found = dict.fromkeys(stem.split(), "STEM")
    found |= dict.fromkeys(humanities.split(), "humanities")
    found |= dict.fromkeys(social.split(), "social sciences")
    return found


MMLU_CATEGORY = _categories()
