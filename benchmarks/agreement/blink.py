"""BLINK: published raw replies with the letter that the official rule, or a language model after it, gave them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from agreement.report import TABLES, UNCLASSED, Compared, outputs
from evalkit.model import Score, Status
from evalkit.scoring.answers.letters import BRIEF_CHARS, SHORT_CHARS, score
from evalkit.scoring.answers.reply import final_text_of


def replies(folder: Path) -> Iterator[Compared]:
    """`full_MODEL.jsonl`: idx, answer, full_prediction (raw), prediction (official; "(Z)" for not matched)."""
    for model, row in outputs(folder, "full_*.jsonl"):
        task = re.sub(r"^[a-z]+_|_\d+$", "", row["idx"])
        reply, prediction = str(row["full_prediction"]), row["prediction"]
        doc = {"choices": TABLES["blink"].get(task, [""] * 4), "answer": row["answer"].strip("()"), "id": row["idx"]}
        found, letter = score(doc, final_text_of(reply)), prediction.strip("()")
        cls = None if (found.answer or "Z") == letter else _class(reply, prediction, found, len(doc["choices"]))
        yield Compared("BLINK", model, row["idx"], float(prediction == row["answer"]), letter, found, cls)


def _class(reply: str, prediction: str, score: Score, count: int) -> str:
    """Prose names no option in a form that the rules read: no lone letter, no single bracketed one if it is short."""
    if not re.fullmatch(r"\([A-Z]\)", prediction):
        return "published_form"
    if score.reason == "multiple":
        return "one_of_several"
    if score.status is Status.SCORED:
        if re.search(rf"\({prediction[1]}\)[^.(]*\b(?:not|n't)\b", reply):
            return "denied"
        last = reply.strip().rpartition("\n")[2]
        both = re.search(rf"\b{score.answer}\b", last) and f"({prediction[1]})" in last
        return "contradiction" if both else UNCLASSED
    letters = set(re.findall(r"\(([A-D])\)", reply)) & set("ABCD"[:count])
    brief = len(reply.strip()) <= BRIEF_CHARS and re.search(r"(?<![A-Za-z])[A-D](?![A-Za-z])", reply)
    denied = re.search(r"\bnot\b|n't\b|less|unlike", reply)
    return UNCLASSED if brief or (len(letters) == 1 and len(reply) <= SHORT_CHARS and not denied) else "prose"
