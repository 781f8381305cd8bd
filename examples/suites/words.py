"""The scorer and the preparer of words.yaml: both are found because they lie beside it."""

from evalkit.model import FinalText, Score, Status


def prepare(rows, options):
    """Documents of the rows of words.jsonl: each needs an `id`, and every field that the suite names."""
    return [
        {
            "id": row["id"],
            "words": " ".join(row["words"]),
            "sorted": " ".join(sorted(row["words"])),
            "length": "short" if len(row["words"]) < 5 else "long",
        }
        for row in rows
    ]


def score(document, final: FinalText) -> Score:
    """The share of words in their place; `final` is what the model said, without its thinking."""
    if final.status is not None:  # empty, refused, cut off while thinking ...
        return Score(0.0, final.status, final.reason)
    wanted, given = document["sorted"].split(), final.text.lower().split()
    right = sum(one == other for one, other in zip(wanted, given, strict=False))
    return Score(right / len(wanted), Status.SCORED, f"{right} of {len(wanted)}", answer=final.text[:200])


def process_results(document, results):
    """The same score for plain lm-eval, which looks for it beside its task file, too."""
    from evalkit.scoring.hooks import accuracy

    return accuracy(score, document, results)
