"""OCRBench, whose publication has answers but no replies, and the invented tricky replies of every family."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from agreement.report import UNCLASSED, Compared, json_lines, outputs
from evalkit.model import Score
from evalkit.scoring.answers.judge import grade
from evalkit.scoring.answers.reply import final_text_of
from evalkit.scoring.perception import ocrbench
from evalkit.scoring.registry import scorer


def answer_key(folder: Path) -> Iterator[Compared]:
    """`OCRBench.json`: each answer in several shapes, and another item's, under a sketch of the official rule."""
    published = orjson.loads((folder / "OCRBench.json").read_bytes())
    documents = ocrbench(published, {})
    shapes: dict[str, Callable[[str], str]] = {
        "the answer": lambda text: text,
        "in a sentence": lambda text: f'The picture says "{text}".',
        "upper case": str.upper,
        "wider spaces": lambda text: text.replace(" ", "  "),
        "broken line": lambda text: text.replace(" ", "\n", 1),
    }
    said = {name: [shape(doc["answers"][0]) for doc in documents] for name, shape in shapes.items()}
    said["the next item's answer"] = [documents[i - 1]["answers"][0] for i in range(len(documents))]
    for name, texts in said.items():
        for doc, text in zip(documents, texts, strict=True):
            official = float(_official(text, doc["answers"], doc["dataset"]))
            yield _compared("OCRBench", name, doc["id"], official, scorer("ocrbench")(doc, final_text_of(text)))


def _compared(data_set: str, name: str, item: Any, official: float, score: Score) -> Compared:
    return Compared(data_set, name, str(item), official, "", score, None if score.value == official else UNCLASSED)


def _official(output: str, answers: list[str], dataset: str) -> bool:
    if dataset == "HME100k":
        return any("".join(a.strip().split()) in "".join(output.strip().split()) for a in answers)
    return any(a.lower().strip().replace("\n", " ") in output.lower().strip().replace("\n", " ") for a in answers)


def tricky(folder: Path) -> Iterator[Compared]:
    """Invented replies with the verdict that evalkit ought to give; here `official` is that verdict."""
    documents: dict[str, tuple[str, Callable[[Any], dict[str, Any]]]] = {
        "mcq_en": ("mmmu_pro", lambda r: {"choices": r["options"], "answer": r["gold"]}),
        "mcq_zh": ("cii_bench", lambda r: {"choices": r["options"], "answer": r["gold"]}),
        "mcq_multi_zh": ("cmmmu", lambda r: {"type": "choice", "choices": r["options"], "answer": r["gold"]}),
        "fill_zh": ("cmmmu", lambda r: {"type": "fill", "answer": r["gold"]}),
        "tf_zh": ("cmmmu", lambda r: {"type": "true_false", "answer": r["gold"]}),
        "open_numeric": ("mmmu", lambda r: {"type": "open", "answers": _listed(r["gold"])}),
        "ocrbench": ("ocrbench", lambda r: {"answers": r["gold"], "dataset": r["dataset"], "nfkc": True}),
        "mathvision": (
            "mathvision",
            lambda r: {
                "type": "open" if r["type"] == "open" else "choice",
                "choices": r["options"],
                "answer": r["gold"].strip(),
            },
        ),
    }
    for name, (scored_by, document) in documents.items():
        for _, row in outputs(folder, f"{name}.jsonl"):
            score = scorer(scored_by)(document(row), final_text_of(row["output"]))
            yield _compared("tricky", name, row["id"], float(row["expected"]), score)
    judged = json_lines(folder / "judge_reply.jsonl")
    wrong = [str(row["id"]) for row in judged if grade(str(row["reply"])) != row["expected_score"]]
    if wrong:
        raise SystemExit(f"judge replies read otherwise than expected: {', '.join(wrong)}")


def _listed(gold: Any) -> list[str]:
    return gold if isinstance(gold, list) else [gold]
