"""GPQA, MMLU, MMLU-Pro and MuSR: their rows as documents, and MMLU's score by the options' log-likelihoods.

Answers in words are read and scored by `evalkit.scoring.answers.choice`. By log-likelihood each option is one
completions request with `echo` and `logprobs`, whose reply holds the log-probability of every prompt token. The answer
is the argmax over the options, as lm-eval's `multiple_choice` tasks have it; the sums themselves are kept as metrics
`logprob_A`, `logprob_B`, ..., and the right option's probability among all as `p_gold`, since they show a numerical
change long before the argmax does.
"""

import hashlib
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

from evalkit.model import Score, Status
from evalkit.scoring.rows import (
    LETTERS,
    Document,
    Row,
    Settings,
    by_row,
    choices_of,
    clean,
    content_id,
    each,
    field,
    groups_of,
    letter_of,
    question_of,
)

VERSION: Final = 2  # of `score_logprobs`

MMLU_CATEGORY: Final = groups_of("mmlu")  # subjects that are in none of the three categories are "other"


def gpqa(rows: Sequence[Row], settings: Settings) -> list[Document]:
    """GPQA: `id, question, choices (4, shuffled by item), answer (letter), domain, subdomain, subsets`.

    The order of the options comes from a hash of the item's Record ID, so it is the same on every machine; with
    several subsets in one suite an item stands once and `subsets` says in how many it is (its weight).
    """
    once: dict[str, Document] = {}
    for document in each(_gpqa, rows, settings):
        once.setdefault(document["id"], document)["subsets"] += 1
    counted = settings.get("count_copies", True)
    return [document if counted else {**document, "subsets": 1} for document in once.values()]


def _gpqa(row: Row, _settings: Settings) -> Document:
    record = clean(field(row, "Record ID"))
    names = ("Correct Answer", *(f"Incorrect Answer {number}" for number in (1, 2, 3)))
    texts = [clean(field(row, name)) for name in names]
    if not all(texts):
        raise ValueError(f"({record}) has an empty option")
    seed = hashlib.sha256(f"evalkit-gpqa-v1|{record}".encode()).hexdigest()
    places = list(range(4))
    random.Random(seed).shuffle(places)  # noqa: S311 - a fixed permutation, no secret
    choices = [texts[place] for place in places]
    return {
        "id": record,
        **question_of(clean(field(row, "Question")), choices, LETTERS[places.index(0)], ")"),
        "domain": clean(row.get("High-level domain")) or "unknown",
        "subdomain": clean(row.get("Subdomain")) or "unknown",
        "subsets": 0,
    }


def mmlu(rows: Sequence[Row], settings: Settings) -> list[Document]:
    """MMLU: `id, question, choices (4), answer (letter), subject, subject_name, category, header`.

    `header` is true for the first development row of each subject, which carries the subject's header line. With
    `settings["share"]`, that share of each subject's items is kept, chosen by a hash of the question.
    """
    documents = _mmlu(rows, settings)
    started: set[str] = set()
    for document in documents:
        document["header"] = document["subject"] not in started
        started.add(document["subject"])
    share = settings.get("share")
    if share is None or settings.get("_split") != "test":
        return documents
    return share_of_each(documents, "subject", float(share))


@by_row
def _mmlu(row: Row, settings: Settings) -> Document:
    subject = clean(field(row, "subject")).replace(" ", "_")
    question = clean(field(row, "question"))
    choices = choices_of(row, "choices")
    answer = letter_of(field(row, "answer"), choices, or_place=True)
    return {
        "id": f"{subject}/{content_id(question, *choices, answer)}",
        **question_of(question, choices, answer),
        "subject": subject,
        "subject_name": subject.replace("_", " "),
        "category": MMLU_CATEGORY.get(subject, "other"),
        "header": False,
        "shot_header": str(settings.get("shot_header", "")),
        "answer_index": LETTERS.index(answer),
    }


def share_of_each(documents: list[Document], name: str, share: float) -> list[Document]:
    """The given share (rounded up) of the documents of each value of the field `name`, chosen by a hash of the id."""
    groups: dict[str, list[Document]] = {}
    for document in documents:
        groups.setdefault(document[name], []).append(document)
    kept: set[str] = set()
    for members in groups.values():
        ranked = sorted(members, key=lambda document: content_id(document["id"]))
        kept.update(document["id"] for document in ranked[: math.ceil(len(members) * share)])
    return [document for document in documents if document["id"] in kept]


@by_row
def mmlu_pro(row: Row, _settings: Settings) -> Document:
    """MMLU-Pro: `id, question, choices (3 to 10), answer (letter), category`; placeholder options are dropped."""
    question = clean(field(row, "question"))
    given = choices_of(row, "options")
    answer = given[LETTERS.index(letter_of(field(row, "answer", "answer_index"), given, or_place=True))]
    choices = [choice for choice in given if choice != "N/A"]
    return {
        "id": f"{row.get('question_id') or content_id(question, *choices)}",
        **question_of(question, choices, LETTERS[choices.index(answer)], ")"),
        "category": clean(field(row, "category")),
    }


@by_row
def musr(row: Row, _settings: Settings) -> Document:
    """MuSR: `id, narrative, question, choices, answer (letter), domain, story`; `story` is shared by its questions."""
    narrative = clean(field(row, "narrative", "context"))
    question = clean(field(row, "question"))
    choices = choices_of(row, "choices")
    answer = letter_of(field(row, "answer_index"), choices, or_place=True)
    text = row.get("answer_choice")
    if text is not None and clean(text) != choices[LETTERS.index(answer)]:
        raise ValueError("has an answer_index and an answer_choice that disagree")
    domain = str(row["_part"])
    return {
        "id": f"{domain}/{content_id(narrative, question, *choices)}",
        "narrative": narrative,
        **question_of(question, choices, answer, ")"),
        "domain": domain,
        "story": content_id(narrative),
    }


def score_logprobs(doc: Mapping[str, Any], logprobs: Sequence[float | None]) -> Score:
    """The score of one item from the log-probabilities (nats) of its options, in their order; None for an unknown one.

    `doc` holds `answer` (a letter) and `continuations` (the texts whose log-probability counts). There is no value
    where one is not known, and none where all are the same number, as a server gives that computes nothing: it is never
    wrong, and never right by chance.

    Raises `ValueError`: where `answer` names none of the options, or there are not as many numbers.
    """
    gold, options = LETTERS.find(str(doc["answer"])), len(doc["continuations"])
    if not 0 <= gold < options:
        raise ValueError(f"the answer {doc['answer']!r} is none of the {options} options")
    if len(logprobs) != options:
        raise ValueError(f"{len(logprobs)} log-probabilities for {options} options")
    known = [max(value, -1e9) for value in logprobs if value is not None and not math.isnan(value)]
    if len(known) < options:
        return Score(None, Status.GRADE_ERROR, "no_logprobs")
    if len(set(known)) == 1:
        return Score(None, Status.GRADE_ERROR, "options_tied")
    best = max(range(options), key=known.__getitem__)
    metrics = {f"logprob_{LETTERS[n]}": value for n, value in enumerate(known)}
    weights = [math.exp(value - known[best]) for value in known]
    metrics["p_gold"] = weights[gold] / sum(weights)
    right = best == gold
    return Score(float(right), Status.SCORED, "right" if right else "wrong", answer=LETTERS[best], metrics=metrics)
