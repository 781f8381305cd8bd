"""OCRBench: containment with the white-space rule of the source set, and nothing more."""

import json

import pytest

from evalkit.errors import DataError
from evalkit.model import FinalText, Status
from evalkit.scoring import perception
from evalkit.scoring.answers.reply import final_text_of


def read(reply, *answers, dataset="IIIT5K", nfkc=False, **final):
    return perception.score({"answers": answers, "dataset": dataset, "nfkc": nfkc}, final_text_of(reply, **final))


@pytest.mark.parametrize(
    ("reply", "answers", "value"),
    [
        ('The sign says "Harbour".', ["HARBOUR"], 1),
        ("HAR BOUR", ["HARBOUR"], 0),
        ("HARBOURS", ["HARBOUR"], 1),
        ("7,214", ["7214"], 0),
        ("har-\nbour", ["harbour"], 0),
        ("GOLDEN\nANCHOR INN", ["Golden Anchor Inn"], 1),
        ("300 million dollars", ["$300 million"], 0),
        ("to Mill Lane, North", ["Mill Lane North", "Mill Lane, North"], 1),
        ("ＡＢＣ", ["ABC"], 0),
        ("HARBOUR", ["  Harbour\n"], 1),
    ],
)
def test_words_are_contained_without_case(reply, answers, value):
    assert read(reply, *answers).value == value


@pytest.mark.parametrize(
    ("reply", "answer", "value"),
    [
        ("$x_3=-2$", "x _ { 3 } = - 2\n", 0),
        ("$x_{3}=-2$", "x _ { 3 } = - 2\n", 1),
        ("X_{3} = -2", "x _ { 3 } = - 2\n", 0),
        ("\\[ V = 9B \\]", "V = 9 B", 1),
        ("14 + 5\n= 19", "1 4 + 5 = 1 9", 1),
    ],
)
def test_formulas_lose_their_spaces_and_keep_their_case(reply, answer, value):
    assert read(reply, answer, dataset="HME100k").value == value


def test_full_width_letters_fold_only_where_asked():
    assert read("ＡＢＣ", "ABC", nfkc=True).value == 1.0


def test_a_reply_that_was_cut_off():
    right = read("It reads HARBOUR and th", "harbour", finish_reason="length")
    assert (right.value, right.reason) == (1.0, "truncated_with_answer")
    assert read("It reads HARB", "harbour", finish_reason="length").status is Status.TRUNCATED
    assert read("", "harbour").status is Status.EMPTY


@pytest.mark.parametrize("doc", [{"answers": [], "dataset": "svt"}, {"answers": ["x"]}, {"dataset": "svt"}])
def test_a_damaged_document_is_a_data_error(doc):
    with pytest.raises(DataError):
        perception.score(doc, FinalText("x"))


def test_an_answer_of_nothing_but_spaces_matches_nothing():
    assert read("anything", " ", "x").value == 0.0


def test_tricky_rows(tricky):
    rows = [json.loads(line) for line in (tricky / "ocrbench.jsonl").open()]
    assert len(rows) >= 18
    for row in rows:
        official = read(row["output"], *row["gold"], dataset=row["dataset"])
        folded = read(row["output"], *row["gold"], dataset=row["dataset"], nfkc=True)
        assert official.value == row["ocrbench_official"], row["id"]
        assert folded.value == row["expected"], row["id"]
