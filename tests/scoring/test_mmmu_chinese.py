"""CMMMU: sets of letters, verdicts with their negations, and blanks."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import DataError
from evalkit.model import FinalText, Status
from evalkit.scoring.answers.reply import final_text_of
from evalkit.scoring.mmmu import score_cmmmu

CHOICES = ["铜", "铁", "锌", "银"]


def choice(reply, answer, **final):
    return score_cmmmu({"type": "choice", "choices": CHOICES, "answer": answer}, final_text_of(reply, **final))


def judge(reply, answer="对", **final):
    return score_cmmmu({"type": "true_false", "answer": answer}, final_text_of(reply, **final))


def fill(reply, answer, **final):
    return score_cmmmu({"type": "fill", "answer": answer}, final_text_of(reply, **final))


@pytest.mark.parametrize(
    "reply",
    [
        "BD",
        "D、B",
        "B D",
        "正确答案：B和D",
        "答案：BD。",
        "B、D选项正确",
        "A选项错误；B选项正确；D选项正确。",
        "(B) 铁\n(D) 银",
        "答案：\nB. 铁\nD. 银",
        "逐项分析后，选BD",
        r"\boxed{BD}",
    ],
)
def test_a_set_of_letters_is_right_as_a_whole(reply):
    assert choice(reply, "BD").value == 1.0
    for other in ("B", "D", "ABD", "AB"):
        assert choice(reply, other).value == 0.0


@pytest.mark.parametrize("reply", ["B", "BCD", "答案：B或D", "铁和铜", "都可能", "BB"])
def test_another_set_is_wrong(reply):
    assert choice(reply, "BD").value == 0.0


def test_one_letter_is_read_as_in_other_suites():
    for reply in ("C", "答案：C", "C. 锌", "锌", "选项C符合题意", "故选C。"):
        assert choice(reply, "C").value == 1.0


@pytest.mark.parametrize(
    "reply",
    ["对", "正确", "答案：对", "该说法是正确的。", "没有错", "没错。", "不是错误的", "√", "True", "是", "判断该说法是否正确：正确",
     "对，因为两角相等，而不是相似。", "正确。错误的看法是面积会变。"],
)  # fmt: skip
def test_statements_called_true(reply):
    assert judge(reply, "对").value == 1.0
    assert judge(reply, "错").value == 0.0


@pytest.mark.parametrize(
    "reply",
    ["错", "错误", "答案：错", "不正确", "不对", "这种说法不完全正确。", "这个陈述是错的，因为图形不对称。", "×", "False",
     "否", "not correct", "该命题为假命题", "不正确，正确的说法是面积不变。", "经计算，面积相等，所以原说法不成立"],
)  # fmt: skip
def test_statements_called_false(reply):
    assert judge(reply, "错").value == 1.0
    assert judge(reply, "对").value == 0.0


@pytest.mark.parametrize(
    "reply", ["无法判断", "图中两条线相对，与对角线交于一点。", "需要知道是否正确", "对不对很难说"]
)
def test_undecided_is_no_answer(reply):
    for answer in ("对", "错"):
        score = judge(reply, answer)
        assert (score.value, score.status) == (0.0, Status.NO_ANSWER)


def test_a_cut_off_verdict_counts_only_where_it_was_announced():
    assert judge("答案：对\n因为图", finish_reason="length").value == 1.0
    assert judge("先看三角形，面积相等，说法正确，接着", finish_reason="length").status is Status.TRUNCATED


@pytest.mark.parametrize(
    ("reply", "answer", "value"),
    [
        ("418", "418", 1),
        ("最低成本是418万元。", "418", 1),
        ("答案：418", "418", 1),
        ("1418", "418", 0),
        ("53，900", "53900", 1),
        ("7.5", "7.50", 1),
        ("1/3", "0.33", 0),
        ("6.2", "-6.2", 0),
        ("-6.2", "-6.2", 1),
        ("②", "②", 1),
        ("2", "②", 1),
        ("(2)", "（2）", 1),
        ("C＜D", "C<D", 1),
        ("丙", "丙", 1),
        ("应选丙。", "丙", 1),
        ("甲丙丁", "丙", 0),
        ("变小", "大", 0),
        ("不收敛", "收敛", 0),
        ("收敛", "不收敛", 0),
        ("绝对收敛", "收敛", 1),
        ("人民币看涨期权的收益图", "看涨期权", 1),
        ("这是一个关于看涨期权与看跌期权如何定价的问题", "看涨期权", 0),
        ("生成CO2气体", "CO2", 1),
        ("生成CO23", "CO2", 0),
        ("无", "无", 1),
        ("否", "是", 0),
    ],
)
def test_blanks(reply, answer, value):
    assert fill(reply, answer).value == value


def test_the_reasoning_is_not_searched_for_the_answer():
    assert fill("先得到418，再减去18，\n所以结果为400", "418").value == 0
    assert fill("先得到400，再加18，\n所以结果为418", "418").value == 1


@pytest.mark.parametrize(
    "doc",
    [
        {"type": "choice", "choices": CHOICES, "answer": "E"},
        {"type": "true_false", "answer": "也许"},
        {"type": "fill", "answer": " "},
        {"type": "essay", "answer": "x"},
        {"answer": "x"},
    ],
)
def test_a_damaged_document_is_a_data_error(doc):
    with pytest.raises(DataError):
        score_cmmmu(doc, FinalText("x"))


@given(st.text(alphabet="对错不没有正确误是否答案:：AB，。\n ", max_size=60))
def test_any_verdict_is_one_or_none(text):
    right = score_cmmmu({"type": "true_false", "answer": "对"}, FinalText(text))
    wrong = score_cmmmu({"type": "true_false", "answer": "错"}, FinalText(text))
    assert right.value + wrong.value == (1.0 if right.status is Status.SCORED else 0.0)


def test_tricky_rows(tricky):
    documents = {
        "mcq_multi_zh": lambda row: {"type": "choice", "choices": row["options"], "answer": row["gold"]},
        "tf_zh": lambda row: {"type": "true_false", "answer": row["gold"]},
        "fill_zh": lambda row: {"type": "fill", "answer": row["gold"]},
    }
    rows = [(name, json.loads(line)) for name in documents for line in (tricky / f"{name}.jsonl").open()]
    assert len(rows) >= 38
    found = {row["id"]: score_cmmmu(documents[name](row), final_text_of(row["output"])).value for name, row in rows}
    assert found == {row["id"]: row["expected"] for _, row in rows}
