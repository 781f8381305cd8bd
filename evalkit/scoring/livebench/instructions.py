"""Instruction following, questions released before 2025-11-25: the sixteen IFEval rules that occur, strictly.

Rules after Zhou et al. 2023, "Instruction-Following Evaluation for Large Language Models", as LiveBench applies them.
Half of a question's score is the share of rules followed, half is given where all are.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from evalkit.errors import DataError
from evalkit.resources import Patterns
from evalkit.scoring.answers.worker import run_limited
from evalkit.scoring.livebench.extract import Grade
from evalkit.scoring.registry import name_of

# Its English model is data that nltk does not ship. It is looked for where nltk looks, and in llama-index-core, whose
# wheel carries it; a home-made splitter would count differently and is not the official rule.
SECONDS: Final = 20.0  # processor time for counting the sentences of one reply

_MODEL: Final = Path("tokenizers", "punkt_tab", "english")
_MODEL_FILES: Final = ("abbrev_types.txt", "collocations.tab", "ortho_context.tab", "sent_starters.txt")
_CARRIER: Final = ("llama_index", "core/_static/nltk_cache")


def count_sentences(text: str) -> int:
    """The number of sentences that punkt finds.

    Raises `DataError`: the English model is not on this machine; the sentence says how to get it; `GradeTimeout`: the
    text takes too long to split.
    """
    root = data_folder()
    if root is None:
        raise DataError(unavailable() or "")
    count: int = run_limited(f"{__name__}:count_in_worker", (text, str(root)), SECONDS)
    return count


def unavailable() -> str | None:
    """None where the English punkt model is on this machine, else one sentence that says how to get it."""
    if data_folder() is not None:
        return None
    return (
        "LiveBench's sentence counts need nltk's English punkt_tab model, which is not on this machine: run "
        "`python -m nltk.downloader punkt_tab`, or `pip install --no-deps llama-index-core` (its wheel carries the "
        f"model, for machines that reach only a package mirror), or set NLTK_DATA to a folder that holds {_MODEL}."
    )


def data_folder() -> Path | None:
    """The first data folder that holds the whole English model, in nltk's order of places; None where none does."""
    complete = (root for root in _roots() if all((root / _MODEL / name).is_file() for name in _MODEL_FILES))
    return next(complete, None)


def _roots() -> list[Path]:
    roots = [Path(entry) for entry in os.environ.get("NLTK_DATA", "").split(os.pathsep) if entry]
    roots += [Path.home() / "nltk_data"]
    roots += [Path(sys.prefix, *place) for place in (("nltk_data",), ("share", "nltk_data"), ("lib", "nltk_data"))]
    roots += [Path(place, "nltk_data") for place in ("/usr/share", "/usr/local/share", "/usr/lib", "/usr/local/lib")]
    package, place = _CARRIER
    spec = find_spec(package)  # finds the folder without running the package
    if spec is not None and spec.submodule_search_locations:
        roots += [Path(location) / place for location in spec.submodule_search_locations]
    return roots


def count_in_worker(text: str, root: str) -> int:
    """The count itself, with the model below the data folder `root`; runs in a grading worker."""
    return sum(1 for _ in _tokenizer(root).span_tokenize(text))


@lru_cache(maxsize=1)
def _tokenizer(root: str) -> Any:
    import nltk.data
    from nltk.tokenize.punkt import PunktTokenizer

    nltk.data.path.insert(0, root)
    return PunktTokenizer("english")


Rule = Callable[[str, Mapping[str, Any]], bool]

_FENCE_STARTS: Final = ("```json", "```Json", "```JSON", "```")
_FIXED_ANSWERS: Final = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_POSTSCRIPTS: Final = {"P.S.": re.compile(r"p\.\s?s\."), "P.P.S": re.compile(r"p\.\s?p\.\s?s")}
_RE: Final = Patterns("instructions")


def grade(doc: Mapping[str, Any], text: str) -> Grade:
    """Every rule of the question on the whole text; an empty text follows none.

    Raises `DataError`: the question lists no rules, or a rule that is not one of the sixteen, or lacks a rule's value;
    `GradeTimeout`: the sentences cannot be counted in time.
    """
    names = [name for name, _ in _rules(doc)]
    kept = followed(doc, text)
    share = sum(kept) / len(kept)
    return Grade(
        value=(all(kept) + share) / 2,
        answer=", ".join(name if yes else f"not {name}" for name, yes in zip(names, kept, strict=True)),
        metrics={"all_followed": float(all(kept)), "share_followed": share},
    )


def followed(doc: Mapping[str, Any], text: str) -> tuple[bool, ...]:
    """Was each rule of `instruction_id_list` followed, in its order? Raises as `grade` does."""
    rules = _rules(doc)
    if not text.strip():
        return (False,) * len(rules)
    kept = []
    for name, kwargs in rules:
        try:
            kept.append(RULES[name](text, kwargs))
        except KeyError as missing:
            raise DataError(f"{name_of(doc)}: the rule {name} lacks its value {missing}.") from None
    return tuple(kept)


def _rules(doc: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    names, values = doc.get("instruction_id_list") or [], doc.get("kwargs") or []
    if not names or len(names) != len(values):
        raise DataError(f"{name_of(doc)} has no list of instructions with a value each: there is nothing to grade.")
    if unknown := sorted(set(names) - RULES.keys()):
        raise DataError(
            f"{name_of(doc)} asks for the rule {unknown[0]}, which is not one of the sixteen of its release."
        )
    return list(zip(names, values, strict=True))


def _has_postscript(text: str, kwargs: Mapping[str, Any]) -> bool:
    marker, lowered = kwargs["postscript_marker"], text.lower()
    pattern = _POSTSCRIPTS.get(marker)
    return str(marker).lower() in lowered if pattern is None else pattern.search(lowered) is not None


def _has_title(text: str) -> bool:
    for line in text.split("\n"):
        start, end = line.find("<<"), line.rfind(">>")
        if 0 <= start < end and line[start:end].lstrip("<").rstrip(">").strip():
            return True
    return False


def _counts(number: int, kwargs: Mapping[str, Any], name: str) -> bool:
    wanted: int = kwargs[name]
    return number < wanted if kwargs["relation"] == "less than" else number >= wanted


def _first_word_of_paragraph(text: str, kwargs: Mapping[str, Any]) -> bool:
    paragraphs = text.split("\n\n")
    filled = sum(1 for paragraph in paragraphs if paragraph.strip())
    nth = int(kwargs["nth_paragraph"])
    if filled != kwargs["num_paragraphs"] or nth > filled or not paragraphs[nth - 1].strip():
        return False
    word: str = paragraphs[nth - 1].split()[0].lstrip("'").lstrip('"').lower()
    return re.split(r"[.,?!'\"]", word, maxsplit=1)[0] == str(kwargs["first_word"]).lower()


def _filled_parts(text: str, divider: str) -> list[str]:
    """The stripped parts between dividers; an empty first or last one is left out, an empty inner one spoils all."""
    parts = [part.strip() for part in text.split(divider)]
    return [part for part in parts if part] if all(parts[1:-1]) else []


def _is_json(text: str) -> bool:
    bare = text.strip()
    for start in _FENCE_STARTS:
        bare = bare.removeprefix(start)
    try:
        json.loads(bare.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


RULES: Final[Mapping[str, Rule]] = {
    "combination:repeat_prompt": lambda text, kwargs: (
        text.strip().lower().startswith(str(kwargs["prompt_to_repeat"]).strip().lower())
    ),
    "combination:two_responses": lambda text, _: (
        len(parts := _filled_parts(text, "******")) == 2 and parts[0] != parts[1]
    ),
    "detectable_content:postscript": _has_postscript,
    "detectable_format:constrained_response": lambda text, _: any(answer in text for answer in _FIXED_ANSWERS),
    "detectable_format:json_format": lambda text, _: _is_json(text),
    "detectable_format:multiple_sections": lambda text, kwargs: (
        len(re.findall(rf"{re.escape(kwargs['section_spliter'])}\s?\d+", text)) >= int(kwargs["num_sections"])
    ),
    "detectable_format:number_bullet_lists": lambda text, kwargs: (
        len(_RE.starred.findall(text)) + len(_RE.dashed.findall(text)) == int(kwargs["num_bullets"])
    ),
    "detectable_format:title": lambda text, _: _has_title(text),
    "keywords:existence": lambda text, kwargs: all(keyword.lower() in text.lower() for keyword in kwargs["keywords"]),
    "keywords:forbidden_words": lambda text, kwargs: (
        not any(re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) for word in kwargs["forbidden_words"])
    ),
    "length_constraints:nth_paragraph_first_word": _first_word_of_paragraph,
    "length_constraints:number_paragraphs": lambda text, kwargs: (
        len(_filled_parts(text, "***")) == int(kwargs["num_paragraphs"])
    ),
    "length_constraints:number_sentences": lambda text, kwargs: _counts(count_sentences(text), kwargs, "num_sentences"),
    "length_constraints:number_words": lambda text, kwargs: _counts(len(_RE.word.findall(text)), kwargs, "num_words"),
    "startend:end_checker": lambda text, kwargs: (
        text.strip().strip('"').lower().endswith(str(kwargs["end_phrase"]).strip().lower())
    ),
    "startend:quotation": lambda text, _: re.fullmatch('".*"', text.strip(), re.DOTALL) is not None,
}
