"""OCRBench, whose publication has answers but no replies, and the invented tricky replies of every family."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from agreement.report import UNCLASSED, Agreement, json_lines
from evalkit.scoring.answers.judge import grade
from evalkit.scoring.answers.reply import final_text_of
from evalkit.scoring.perception import ocrbench
from evalkit.scoring.registry import scorer


def answer_key(folder: Path) -> Iterator[Agreement]:
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
    for name, shape in shapes.items():
        yield _key(documents, name, [shape(doc["answers"][0]) for doc in documents])
    yield _key(documents, "the next item's answer", [documents[i - 1]["answers"][0] for i in range(len(documents))])


def _key(documents: list[dict[str, Any]], name: str, outputs: list[str]) -> Agreement:
    result = Agreement("OCRBench", name)
    for doc, output in zip(documents, outputs, strict=True):
        official = float(_official(output, doc["answers"], doc["dataset"]))
        score = scorer("ocrbench")(doc, final_text_of(output))
        result.add(doc["id"], official, "", score, None if score.value == official else UNCLASSED)
    return result


def _official(output: str, answers: list[str], dataset: str) -> bool:
    if dataset == "HME100k":
        return any("".join(a.strip().split()) in "".join(output.strip().split()) for a in answers)
    return any(a.lower().strip().replace("\n", " ") in output.lower().strip().replace("\n", " ") for a in answers)


def tricky(folder: Path) -> Iterator[Agreement]:
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
        result = Agreement("tricky", name)
        for row in json_lines(folder / f"{name}.jsonl"):
            score = scorer(scored_by)(document(row), final_text_of(row["output"]))
            expected = float(row["expected"])  # type: ignore[arg-type]
            result.add(str(row["id"]), expected, "", score, None if score.value == expected else UNCLASSED)
        yield result
    judged = json_lines(folder / "judge_reply.jsonl")
    wrong = [str(row["id"]) for row in judged if grade(str(row["reply"])) != row["expected_score"]]
    if wrong:
        raise SystemExit(f"judge replies read otherwise than expected: {', '.join(wrong)}")


def _listed(gold: Any) -> list[str]:
    return gold if isinstance(gold, list) else [gold]
