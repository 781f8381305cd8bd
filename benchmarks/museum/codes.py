"""The scorer and the preparer of codes.yaml: codes that are to be repeated."""

from evalkit.model import FinalText, Score, Status


def prepare(rows, _options):
    """The rows are the documents."""
    return rows


def score(document, final: FinalText) -> Score:
    """Right where the code that is wanted stands in the answer; `final` is what the model said."""
    if final.status is not None:
        return Score(0.0, final.status, final.reason)
    right = document["wanted"] in final.text
    return Score(float(right), Status.SCORED, "the code" if right else "another", answer=final.text[:40])


def process_results(document, results):
    """The same score for plain lm-eval."""
    from evalkit.scoring.hooks import accuracy

    return accuracy(score, document, results)
