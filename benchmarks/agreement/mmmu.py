"""MMMU and MMMU-Pro: published replies with the letter that the official script parsed."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from agreement.choices import classify
from agreement.report import Agreement, json_lines
from evalkit.scoring import mmmu
from evalkit.scoring.answers import letters
from evalkit.scoring.answers.reply import final_text_of


def pro(folder: Path) -> Iterator[Agreement]:
    """`*.jsonl` with `response`, `pred_indexs` (the official letter) and `if_right` (the official verdict)."""
    for path in sorted(folder.glob("*.jsonl")):
        result = Agreement("MMMU-Pro", path.stem)
        published: list[Any] = json_lines(path)
        documents = mmmu.mmmu_pro([row | {"image": path.stem} for row in published], {})
        for row, doc in zip(published, documents, strict=True):
            score = letters.score(doc, final_text_of(str(row["response"])))
            official = float(row["if_right"])
            cls = None
            if score.value != official or (score.answer or "") != row["pred_indexs"]:
                nested = any(isinstance(option, list) for option in ast.literal_eval(row["options"]))
                cls = (
                    "nested_options"
                    if nested
                    else classify(str(row["response"]), doc["choices"], row["pred_indexs"], score)
                )
            result.add(row["id"], official, row["pred_indexs"], score, cls)
        yield result


def validation(folder: Path) -> Iterator[Agreement]:
    """`MODEL_responses.jsonl` with `MODEL_parsed_total_val_output.json`, the official script's parsed answers.

    The published parsed answers of open questions are texts; they are judged by the official comparison (numbers at
    two decimals, else containment in lower case), in a sketch of our own.
    """
    for path in sorted(folder.glob("*_responses.jsonl")):
        model = path.name.removesuffix("_responses.jsonl")
        parsed = orjson.loads((folder / f"{model}_parsed_total_val_output.json").read_bytes())
        result = Agreement("MMMU validation", model)
        for row in json_lines(path):
            _add(result, row, str(parsed[row["id"]]))
        yield result


def _add(result: Agreement, row: Any, parsed: str) -> None:
    reply = str(row["response"])
    if row["question_type"] == "multiple-choice":
        choices = [row["index2ans"][letter] for letter in row["all_choices"]]
        doc: dict[str, Any] = {"type": "choice", "choices": choices, "answer": row["answer"], "id": row["id"]}
        score = mmmu.score(doc, final_text_of(reply))
        official = float(parsed == row["answer"])
        differ = score.value != official or (score.answer or "") != parsed
        cls = classify(reply, choices, parsed, score) if differ else None
    else:
        truths = row["answer"] if isinstance(row["answer"], list) else [row["answer"]]
        doc = {"type": "open", "answers": truths, "id": row["id"]}
        score = mmmu.score(doc, final_text_of(reply))
        official = float(any(_officially_equal(parsed, str(truth)) for truth in truths))
        numeric = any(_number(str(truth)) is not None for truth in truths)
        cls = None if score.value == official else ("two_decimals" if numeric else "one_letter_inside")
    result.add(row["id"], official, parsed, score, cls)


def _officially_equal(parsed: str, truth: str) -> bool:
    given, wanted = _number(parsed), _number(truth)
    if wanted is not None:
        return given is not None and round(given, 2) == round(wanted, 2)
    needles = [f" {truth.lower()}", f"{truth.lower()} "] if len(truth) == 1 else [truth.lower()]
    return any(needle in parsed.lower() for needle in needles)


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", ""))
    except ValueError:
        return None
