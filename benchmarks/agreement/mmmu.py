"""MMMU and MMMU-Pro: published replies with the letter that the official script parsed.

Why such a letter differs from the one read here is told by a sketch of what the official patterns can see in a reply.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from agreement.report import UNCLASSED, Compared, outputs
from evalkit.model import Score, Status
from evalkit.scoring import mmmu
from evalkit.scoring.answers import letters
from evalkit.scoring.answers.letters import SHORT_CHARS
from evalkit.scoring.answers.reply import final_text_of

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_DENIAL = re.compile(r"\b(?:not|cannot|incorrect|wrong|less|unlikely)\b|n['’]t\b", re.IGNORECASE)


def pro(folder: Path) -> Iterator[Compared]:
    """`*.jsonl` with `response`, `pred_indexs` (the official letter) and `if_right` (the official verdict)."""
    for model, row in outputs(folder, "*.jsonl"):
        (doc,) = mmmu.mmmu_pro([row | {"image": model}], {})
        reply, letter, official = str(row["response"]), row["pred_indexs"], float(row["if_right"])
        score, cls = letters.score(doc, final_text_of(reply)), None
        if (score.value, score.answer or "") != (official, letter):
            nested = any(isinstance(option, list) for option in ast.literal_eval(row["options"]))
            cls = "nested_options" if nested else classify(reply, doc["choices"], letter, score)
        yield Compared("MMMU-Pro", model, row["id"], official, letter, score, cls)


def validation(folder: Path) -> Iterator[Compared]:
    """`MODEL_responses.jsonl` with `MODEL_parsed_total_val_output.json`, the official script's parsed answers.

    The published parsed answers of open questions are texts; they are judged by the official comparison (numbers at
    two decimals, else containment in lower case), in a sketch of our own.
    """
    answers = {path.name: orjson.loads(path.read_bytes()) for path in folder.glob("*_output.json")}
    for model, row in outputs(folder, "*_responses.jsonl"):
        parsed = str(answers[f"{model}_parsed_total_val_output.json"][row["id"]])
        judged = _choice if row["question_type"] == "multiple-choice" else _open
        yield Compared("MMMU validation", model, row["id"], *judged(row, parsed))


def _choice(row: Any, parsed: str) -> tuple[float, str, Score, str | None]:
    choices, reply = [row["index2ans"][letter] for letter in row["all_choices"]], str(row["response"])
    doc = {"type": "choice", "choices": choices, "answer": row["answer"], "id": row["id"]}
    score, official = mmmu.score(doc, final_text_of(reply)), float(parsed == row["answer"])
    differ = (score.value, score.answer or "") != (official, parsed)
    return official, parsed, score, classify(reply, choices, parsed, score) if differ else None


def _open(row: Any, parsed: str) -> tuple[float, str, Score, str | None]:
    truths = row["answer"] if isinstance(row["answer"], list) else [row["answer"]]
    score = mmmu.score({"type": "open", "answers": truths, "id": row["id"]}, final_text_of(str(row["response"])))
    official = float(any(_officially_equal(parsed, str(truth)) for truth in truths))
    numeric = any(_number(str(truth)) is not None for truth in truths)
    return (
        official,
        parsed,
        score,
        None if score.value == official else "two_decimals" if numeric else "one_letter_inside",
    )


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


def named(reply: str, count: int) -> set[str]:
    """Option letters that the official patterns see: in brackets, between spaces, or after the last "Answer:"."""
    after = reply.rpartition("Answer:")[2] if "Answer:" in reply else ""
    padded = f" {reply.strip(',.!?;:' + chr(39))} "
    return {
        letter for letter in LETTERS[:count] if f"({letter})" in reply or f" {letter} " in padded or letter in after
    }


def texts_in(reply: str, choices: Sequence[str]) -> set[str]:
    """Letters of the options whose text, in lower case, lies anywhere in the reply."""
    folded = reply.lower()
    return {letter for letter, text in zip(LETTERS, choices, strict=False) if text and text.lower() in folded}


def classify(reply: str, choices: Sequence[str], official: str, score: Score) -> str:
    """The class of an item on which the official letter is another than the one read here."""
    letters, texts = named(reply, len(choices)), texts_in(reply, choices)
    ours = score.answer if score.status is Status.SCORED else None
    if official not in letters | texts:
        return "random"
    if score.reason == "multiple":
        return "one_of_several"
    if ours and official in texts - letters and ours in texts:
        inside = choices[LETTERS.index(official)].lower() in choices[LETTERS.index(ours)].lower()
        return "nested_text" if inside else "last_mention"
    return _by_letter(reply, letters, texts, official, ours)


def _by_letter(reply: str, letters: set[str], texts: set[str], official: str, ours: str | None) -> str:
    lone = f"({official})" not in reply and not re.search(rf"[Aa]nswer\W{{0,5}}{official}\b", reply)
    if official in letters - texts and lone:
        return "symbol"
    if len(letters | texts) > 1:
        return "last_mention"
    if _DENIAL.search(reply):
        return "denied"
    return "in_passing" if ours is None and len(reply) > SHORT_CHARS else UNCLASSED
