"""TheoremQA: every row of the specification's table (text-suites.md, section 7.3), and what surrounds it."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from evalkit.errors import DataError
from evalkit.model import FinalText, Status
from evalkit.scoring.answers.reply import final_text_of
from evalkit.scoring.registry import scorer
from evalkit.scoring.theoremqa import score

PAGE = Path(__file__).resolve().parents[2] / "docs" / "agreement-theoremqa.md"
SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "agreement_theoremqa.py"

FLOAT, INTEGER, BOOL, OPTION = "float", "integer", "bool", "option"
INTEGERS, FLOATS = "list of integer", "list of float"
PERCENT = ("acc_percent_ambiguous",)


def doc(kind, truth, **more):
    return {"question": "Invented?", "answer": truth, "answer_type": kind, "has_picture": False, **more}


# number, type, truth, answer field, value, lenient, reason, flags
TABLE = [
    (1, FLOAT, 0.5, "1/2", 1, 1, "right", ()),
    (2, FLOAT, 0.5, r"\frac{1}{2}", 1, 1, "right", ()),
    (3, FLOAT, 0.3333, r"\boxed{\dfrac13}", 1, 1, "right", ()),
    (4, FLOAT, 12.5, "12.5%", 0, 0, "wrong", PERCENT),
    (5, FLOAT, 0.125, "12.5%", 1, 1, "right", ()),
    (6, FLOAT, 9.81, "9.8 m/s^2", 1, 1, "right", ()),
    (7, FLOAT, 100.0, "103", 0, 1, "wrong", ()),
    (8, FLOAT, 6e25, r"6 \times 10^{25}", 1, 1, "right", ()),
    (9, FLOAT, 3.14159, r"\pi", 1, 1, "right", ()),
    (10, FLOAT, 0.0, "0", 1, 1, "right", ()),
    (11, INTEGER, 11760, "11,760", 1, 1, "right", ()),
    (12, INTEGER, 3, "2.6", 0, 1, "wrong", ()),
    (13, INTEGER, 4, "x = 4", 1, 1, "right", ()),
    (14, INTEGER, 4, "4 or 5", 0, 0, "multiple", ()),
    (15, BOOL, True, "Yes, it converges", 1, 1, "right", ()),
    (16, BOOL, True, "The statement is not known to be false", 0, 0, "no_answer", ()),
    (18, INTEGERS, [0, 5], "(0, 5)", 1, 1, "right", ()),
    (19, INTEGERS, [0, 5], "[5, 0]", 0, 1, "wrong", ()),
    (20, FLOATS, [0.333, 0.25], "1/3, 1/4", 1, 1, "right", ()),
    (21, INTEGERS, [2, 2], "2", 0, 0, "wrong", ()),
    (22, OPTION, "(b)", "B", 1, 1, "right", ()),
    (23, OPTION, "(b)", "(b) because (a) fails", 1, 1, "right", ()),
]


@pytest.mark.parametrize(
    ("kind", "truth", "field", "value", "lenient", "reason", "flags"),
    [row[1:] for row in TABLE],
    ids=[f"row {row[0]}" for row in TABLE],
)
@pytest.mark.parametrize("as_text", [False, True], ids=["typed", "text"])
def test_rows_of_the_table(kind, truth, field, value, lenient, reason, flags, as_text):
    truth = (truth if isinstance(truth, str) else str(truth)) if as_text else truth
    given = score(doc(kind, truth), final_text_of(f"Some reasoning with 7 in it.\nAnswer: {field}"))
    assert (given.value, given.lenient, given.reason, given.flags) == (value, lenient, reason, flags)
    assert given.metrics["acc_lenient4"] == lenient


def test_row_17_the_answer_stands_behind_the_marker():
    given = score(doc(BOOL, False), final_text_of("正确答案：错误"))
    assert (given.value, given.answer) == (1.0, "False")


@pytest.mark.parametrize(("kind", "truth"), [(INTEGER, 42), (FLOAT, 42.0)])
def test_row_24_prose_without_a_marker_is_no_answer_and_only_the_lenient_reading_takes_it(kind, truth):
    given = score(doc(kind, truth), final_text_of("There are 6 rows of 7, which is 42."))
    assert (given.value, given.status, given.lenient, given.flags) == (0.0, Status.NO_ANSWER, 1.0, ("lenient_only",))


@pytest.mark.parametrize(
    ("kind", "truth"), [(FLOAT, 0.5), (INTEGER, 3), (BOOL, True), (OPTION, "(b)"), (INTEGERS, [1, 2])]
)
def test_row_25_an_unclosed_trace_is_never_graded(kind, truth):
    given = score(doc(kind, truth), final_text_of(f"<think>Answer: {truth}", finish_reason="length"))
    assert (given.value, given.reason) == (0.0, "truncated_in_reasoning")


class TestFindingTheAnswer:
    @pytest.mark.parametrize(
        "text",
        [
            "Answer: 42",
            "**Answer:** 42",
            "**Answer**: 42",
            "The answer is 42.",
            "Therefore, the final answer is $42$.",
            r"The answer is \(42\).",
            "Answer:\n42",
            "Answer:\n\n$$\n42\n$$",
            "## Answer\n\n42",
            r"So \boxed{42}.",
            r"The answer is:\n\[ \boxed{42} \]".replace("\\n", "\n"),
            "答案：42",
            "答案是 42。",
            "Ａｎｓｗｅｒ：４２",
            "Answer: 7\nNo, wait.\nAnswer: 42",
            "Answer: 42\nI checked 17 cases.",
            "Answer: see below.\nThe answer is 42",
        ],
    )
    def test_is_found(self, text):
        assert score(doc(INTEGER, 42), final_text_of(text)).value == 1

    @pytest.mark.parametrize("text", ["42", "It is 42", "Answer: I do not know", "Answer:", ""])
    def test_is_not_guessed(self, text):
        assert score(doc(INTEGER, 42), final_text_of(text)).value == 0

    def test_a_refusal_is_named(self):
        given = score(doc(INTEGER, 42), final_text_of("I'm sorry, I can't help with that."))
        assert (given.value, given.status) == (0.0, Status.REFUSED)

    def test_a_number_that_runs_into_the_token_limit_may_lack_digits(self):
        cut = final_text_of("Answer: 42", finish_reason="length")
        assert score(doc(INTEGER, 42), cut).status is Status.TRUNCATED
        whole = final_text_of("Answer: 42\nTo check", finish_reason="length")
        assert score(doc(INTEGER, 42), whole).reason == "truncated_with_answer"

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("True", 1), ("true.", 1), ("Yes", 1), ("**Yes**", 1), (r"\text{True}", 1), ("it is true", 1), ("正确", 1), ("对", 1),
            ("The statement is true because 0 < 1", 1), ("False", 0), ("No, not true", 0), ("错", 0), ("错误", 0), ("Not true", 0), ("None", 0),
            ("True or False", 0), ("yes/no", 0), ("known", 0), ("denominator", 0),
        ],
    )  # fmt: skip
    def test_truth_values(self, field, value):
        assert score(doc(BOOL, True), final_text_of(f"Answer: {field}")).value == value

    @pytest.mark.parametrize(
        ("field", "letter"),
        [
            ("(a)", "a"), ("A", "a"), ("a", "a"), ("a.", "a"), ("(A) the first", "a"), ("Option C", "c"), ("[d]", "d"), (r"\text{(b)}", "b"), (r"$\text{B}$", "b"), (r"\(b\)", "b"), ("b) the", "b"),
            ("(a) and (b)", "a, b"), ("a function", None), ("above", None), ("none", None), ("(g)", None),
        ],
    )  # fmt: skip
    def test_option_letters(self, field, letter):
        for truth in "abcd":
            given = score(doc(OPTION, f"({truth})"), final_text_of(f"Answer: {field}"))
            assert given.value == float(letter == truth)


class TestAnExpressionIsReadAsAWholeOrNotAtAll:
    @pytest.mark.parametrize(
        "field",
        ["1 - sin(1)", "1 - \\sin 1", "1a", "1 a", "1 sin θ", "1\\sin\\theta", "1(x + 1)", "1 (x + 1)", "1/n", "1 - p", "1x", "1 r", "1_n", "1 - P(A)",
         "1\\sqrt{x}", "1\\alpha", "1 log 3", "1·m", "1 (2)", "1 | x", "1 ≤ x", "1:2", "1\\le x", "1 + i", "1 + 1/2 + ..."],
    )  # fmt: skip
    def test_the_number_that_it_begins_with_is_not_its_value(self, field):
        given = score(doc(FLOAT, 1.0), final_text_of(f"Answer: {field}"))
        assert (given.value, given.status) == (0.0, Status.NO_ANSWER)

    @pytest.mark.parametrize(
        ("field", "truth"),
        [("2 ln(3)", 2.1972), (r"2\ln 3", 2.1972), ("ln(2)/2", 0.34657), ("exp(-1)", 0.36788), ("1 - sin(1) ≈ 0.1585", 0.1585), ("0.25 (1/4)", 0.25), ("1/4 (25%)", 0.25),
         ("5 (metres)", 5), ("0.8c", 0.8), ("3/s", 3), ("4 kΩ", 4), ("42 in a row", 42), ("42 - the sum of both", 42), ("5 min", 5), ("5 sec", 5), ("2 kg·m²/s", 2),
         ("0.333...", 0.333), ("16\\\\", 16), (r"16 \text{ (rounded)}", 16), ("$\\frac{\\pi}{4} \\approx 0.785$", 0.785), ("1.2 × 10⁻³ J", 0.0012), ("x = 4: two pairs", 4)],
    )  # fmt: skip
    def test_functions_units_and_remarks_are_read(self, field, truth):
        assert score(doc(FLOAT, truth), final_text_of(f"Answer: {field}")).value == 1


class TestAnAnswerInTags:
    @pytest.mark.parametrize(
        ("kind", "truth", "content"),
        [(INTEGER, 42, "42"), (FLOAT, 0.5, r"\frac{1}{2}"), (BOOL, True, "True"), (OPTION, "(b)", "(b)"), (INTEGERS, [1, 2], "[1, 2]"), (FLOATS, [0.5, 2.0], "[1/2, 2]")],
    )  # fmt: skip
    @pytest.mark.parametrize(
        "form",
        ["<answer>{}</answer>", "So.\n<answer>\n{}\n</answer>", "FINAL ANSWER: <answer>{}</answer>", "<answer>${}$</answer>", "<answer>The answer is {}.</answer>", "<answer>{}"],
    )  # fmt: skip
    def test_is_read(self, kind, truth, content, form):
        assert score(doc(kind, truth), final_text_of("I add 17.\n" + form.format(content))).value == 1


class TestAFurtherProblemOfTheModels:
    @pytest.mark.parametrize(
        "heading",
        ["Problem:\n", "**Problem:** ", "Question: ", "Q: ", "Problem 2: ", "### Question\n", "## Problem 3\n", "Example 4: ", "Human: ", "<|im_end|>\n", "题目：", "Next problem: "],
    )  # fmt: skip
    def test_is_left_out(self, heading):
        text = f"Six times seven.\nThe answer is 42.\n\n{heading}What is 2 + 2?\nThe answer is 4.\n"
        given = score(doc(INTEGER, 42), final_text_of(text))
        assert (given.value, given.flags) == (1.0, ("continued_pattern",))

    def test_a_problem_that_is_told_before_the_answer_is_not_one(self):
        given = score(doc(INTEGER, 42), final_text_of("Problem: six times seven.\nQuestion: how much?\nAnswer: 42"))
        assert (given.value, given.flags) == (1.0, ())

    @pytest.mark.parametrize(
        "line",
        ["The problem: it may be 41.", "This question is solved.", "No problem.", "Wait: the question was another."],
    )
    def test_a_sentence_about_the_problem_is_no_heading(self, line):
        assert score(doc(INTEGER, 42), final_text_of(f"Answer: 41\n{line}\nAnswer: 42")).value == 1


class TestALoop:
    @pytest.mark.parametrize("kind", [FLOAT, INTEGERS, OPTION])
    @pytest.mark.parametrize(
        "loop", ["Answer: ", "Answer: x + 1\n", "<answer>", "答案是", "Problem:\n", "correct option is "]
    )
    def test_is_read_in_time_and_takes_nothing_from_the_answer_before_it(self, kind, loop):
        truth = {FLOAT: 0.5, INTEGERS: [1, 2], OPTION: "(b)"}[kind]
        given = score(
            doc(kind, truth), final_text_of(f"Answer: {truth}\nQuestion: ?\n" + loop * (1_000_000 // len(loop)))
        )
        assert (given.value, given.flags) == (1.0, ("continued_pattern",))
        assert score(doc(kind, truth), final_text_of(loop * (1_000_000 // len(loop)))).value == 0


class TestTolerances:
    @pytest.mark.parametrize(
        ("truth", "field", "value", "lenient"),
        [
            (100.0, "101", 1, 1),
            (100.0, "101.01", 0, 1),
            (100.0, "104", 0, 1),
            (100.0, "104.1", 0, 0),
            (-2.0, "-1.99", 1, 1),
            (0.0, "0.001", 1, 1),
            (0.0, "0.0011", 0, 0),
            (1.0, "i", 0, 0),
        ],
    )
    def test_one_percent_and_four(self, truth, field, value, lenient):
        given = score(doc(FLOAT, truth), final_text_of(f"Answer: {field}"))
        assert (given.value, given.metrics["acc_lenient4"]) == (value, lenient)

    def test_where_only_the_absolute_tolerance_lets_pass_a_flag_says_so(self):
        given = score(doc(FLOAT, 1e-24), final_text_of("Answer: 2e-24"))
        assert (given.value, given.flags) == (1.0, ("absolute_tolerance",))
        assert score(doc(FLOAT, 1e-24), final_text_of("Answer: 1e-24")).flags == ()

    @pytest.mark.parametrize(
        ("field", "value"), [("3", 1), ("3.0", 1), ("3.0000001", 1), ("3.01", 0), ("6/2", 1), ("-3", 0)]
    )
    def test_integers_are_not_rounded(self, field, value):
        assert score(doc(INTEGER, 3), final_text_of(f"Answer: {field}")).value == value

    def test_lists_of_floats_have_both_tolerances(self):
        given = score(doc(FLOATS, [1.0, 2.0]), final_text_of("Answer: [2.05, 1.0]"))
        assert (given.value, given.lenient) == (0.0, 1.0)
        assert score(doc(FLOATS, [1.0, 2.0]), final_text_of("Answer: [1.005, 2.01]")).value == 1


class TestTruths:
    @pytest.mark.parametrize("kind", [FLOAT, INTEGER, BOOL, OPTION, INTEGERS, FLOATS])
    @pytest.mark.parametrize("truth", [None, "", "  ", []])
    def test_a_missing_truth_raises_and_never_matches(self, kind, truth):
        with pytest.raises(DataError):
            score(doc(kind, truth), FinalText("Answer: "))

    @pytest.mark.parametrize(
        ("kind", "truth"),
        [
            (FLOAT, "x"),
            (INTEGER, True),
            (BOOL, 1),
            (BOOL, "yes"),
            (OPTION, "(g)"),
            (OPTION, "b or c"),
            (INTEGERS, 3),
            (INTEGERS, '["a"]'),
            (FLOAT, [1.0]),
            ("text", "a"),
        ],
    )
    def test_a_truth_of_another_type_raises(self, kind, truth):
        with pytest.raises(DataError):
            score(doc(kind, truth), FinalText("Answer: 1"))

    @pytest.mark.parametrize(
        ("kind", "truth"), [(BOOL, False), (INTEGER, 0), (FLOAT, 0.0), (BOOL, "False"), (INTEGER, "0")]
    )
    def test_false_and_zero_are_truths(self, kind, truth):
        field = "False" if kind == BOOL else "0"
        assert score(doc(kind, truth), final_text_of(f"Answer: {field}")).value == 1

    def test_a_picture_is_marked(self):
        assert "picture" in score(doc(INTEGER, 3, has_picture=True), final_text_of("Answer: 3")).flags

    def test_every_real_truth_is_read_and_right_when_given_back(self, shared_data):
        lines = (shared_data / "theoremqa" / "theoremqa_test.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        assert len(rows) == 800
        for row in rows:
            given = score(doc(row["Answer_type"], str(row["Answer"])), final_text_of(f"Answer: {row['Answer']}"))
            assert given.value == 1, row["id"]


def test_the_registry_knows_the_scorer():
    assert scorer("theoremqa") is score


class TestAgreement:
    @pytest.fixture(scope="class")
    def agreement(self):
        spec = importlib.util.spec_from_file_location("agreement_theoremqa", SCRIPT)
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        spec.loader.exec_module(module)
        return module

    @pytest.mark.parametrize(
        ("pred", "text", "value", "right"),
        [
            ("(a) and (b)", "(b)", None, True),
            ("b", "(b)", None, False),
            ("true", "True", None, True),
            ("2.6", "3", 3, True),
            ("10.3", "10.0", 10.0, True),
            ("10.5", "10.0", 10.0, False),
            ("True", "1", 1, True),
            ("[0, 5]", "[0, 5]", [0, 5], True),
            ("[5, 0]", "[0, 5]", [0, 5], False),
            ("(5, 0)", "[0, 5]", [0, 5], True),
            ("0.0001", "0.0", 0.0, False),
        ],
    )
    def test_the_original_rule(self, agreement, pred, text, value, right):
        assert agreement.original_rule(pred, text, value) is right

    def test_a_difference_that_fits_no_class_is_told_by_item(self, agreement, tmp_path, capsys):
        row = {"Question": "How many?", "Answer": "3", "Answer_type": "integer", "Picture": None}
        # The prediction is not what the reply says anywhere, and evalkit's answer is right.
        output = {"question": "How many?", "correct": ["3", 3], "solution": "The answer is 3.", "pred": "17"}
        (tmp_path / "theoremqa_test.jsonl").write_text(json.dumps(row) + "\n")
        (tmp_path / "model_output_invented.jsonl").write_text(json.dumps(output) + "\n")
        assert agreement.main([str(tmp_path)]) == 1
        assert "invented 0: '17' and '3'\ndifferences without a class: 1" in capsys.readouterr().out

    def test_every_difference_on_the_stored_outputs_has_a_class(self, agreement, shared_data, capsys):
        assert agreement.main([str(shared_data / "theoremqa")]) == 0
        out = capsys.readouterr().out
        assert "differences without a class: 0" in out
        assert "0.1713" in out  # what the repository's own script gives for these predictions
        shown = PAGE.read_text(encoding="utf-8").splitlines()
        assert [line for line in out.splitlines() if line and f"    {line}" not in shown] == []
