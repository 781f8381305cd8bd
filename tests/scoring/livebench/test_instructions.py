"""The sixteen rules of instruction following, each kept and broken; half a score for the share, half for all."""

import pytest

from evalkit.errors import DataError
from evalkit.model import FinalText, Status
from evalkit.scoring.livebench import instructions as sentences
from evalkit.scoring.livebench import livebench, score
from evalkit.scoring.livebench.instructions import RULES, followed


def doc(*rules):
    return {
        "question_id": "q1",
        "task": "summarize",
        "release_date": "2024-11-25",
        "instruction_id_list": [name for name, _ in rules],
        "kwargs": [values for _, values in rules],
    }


FIRST_WORD = {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "However"}
CASES = [
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say this."}, "say this. And more.", "I say this."),
    ("combination:two_responses", {}, "One way.\n******\nAnother way.", "One way.\n******\nOne way."),
    ("combination:two_responses", {}, "A\n******\nB\n******", "A\n******\n\n******\nB"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Text.\n\nP. S. more", "Text. PS more"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "Text.\n\nP.P.S more", "Text.\n\nP.S. more"),
    ("detectable_content:postscript", {"postscript_marker": "N.B."}, "Text. n.b. more", "Text."),
    ("detectable_format:constrained_response", {}, "Well. My answer is maybe.", "My answer is perhaps."),
    ("detectable_format:json_format", {}, '```json\n{"a": [1]}\n```', "{'a': 1}"),
    ("detectable_format:multiple_sections", {"section_spliter": "Section", "num_sections": 2}, "Section 1\na\nSection 2\nb", "Section 1\na\nsection 2\nb"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n  - b\n**c**", "* a\n- b\n- c"),
    ("detectable_format:title", {}, "<<A title>>\ntext", "<< >>\n<A title>"),
    ("keywords:existence", {"keywords": ["law", "night"]}, "Outlaws by NIGHT.", "A law by day."),
    ("keywords:forbidden_words", {"forbidden_words": ["eye"]}, "Eyes, eyed, goodbye.", "An Eye."),
    ("length_constraints:nth_paragraph_first_word", FIRST_WORD, 'One.\n\n"However, two.', "One.\n\nTwo. However."),
    ("length_constraints:nth_paragraph_first_word", FIRST_WORD, "One.\n\nhowever! two", "However.\n\nHowever.\n\nHowever."),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "One.\n***\nTwo.", "One.\n***\n\n***\nTwo."),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, "two words", "now three words"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "at least"}, "it's two", "two words"),
    ("startend:end_checker", {"end_phrase": "Any questions?"}, 'Text. any QUESTIONS?"\n', "Any questions? No."),
    ("startend:quotation", {}, ' "All of it." ', '"Only" the start'),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "values", "kept", "broken"), CASES, ids=[f"{row[0]}-{i}" for i, row in enumerate(CASES)]
)
def test_a_rule_kept_and_broken(rule, values, kept, broken):
    question = doc((rule, values))
    assert followed(question, kept) == (True,)
    assert followed(question, broken) == (False,)


@pytest.mark.usefixtures("punkt")
class TestSentences:
    @pytest.mark.parametrize(
        ("text", "count"),
        [
            ("One. Two! Three?", 3),
            ("Mr. Smith came at 5 p.m. today. He left.", 2),
            ("no stop at all", 1),
            ("It cost $3.50. Fine.", 2),
        ],
    )
    def test_counts_as_punkt_does(self, text, count):
        assert sentences.count_sentences(text) == count

    def test_the_rule_in_both_relations(self):
        text = "One. Two. Three."
        for relation, number, kept in (("less than", 4, True), ("less than", 3, False), ("at least", 3, True)):
            rule = ("length_constraints:number_sentences", {"relation": relation, "num_sentences": number})
            assert followed(doc(rule), text) == (kept,)

    def test_nothing_is_missing_then(self):
        assert sentences.unavailable() is None


class TestWithoutTheModel:
    RULE = ("length_constraints:number_sentences", {"relation": "less than", "num_sentences": 4})

    @pytest.fixture(autouse=True)
    def _no_model(self, monkeypatch, tmp_path):
        monkeypatch.setattr(sentences, "_roots", lambda: [tmp_path])

    def test_the_sentence_names_every_way_to_get_it(self):
        said = sentences.unavailable()
        for way in ("nltk.downloader punkt_tab", "pip install --no-deps llama-index-core", "NLTK_DATA"):
            assert way in said

    def test_a_suite_that_counts_sentences_is_not_loaded(self):
        row = {**doc(self.RULE), "turns": ["Write."], "livebench_release_date": "2024-06-24", "category": "c"}
        with pytest.raises(DataError, match="punkt_tab"):
            livebench([row], {"task": row["task"]})
        other = row | doc(("startend:quotation", {}))
        assert len(livebench([other], {"task": row["task"]})) == 1

    def test_grading_refuses_rather_than_guess(self):
        with pytest.raises(DataError, match="punkt_tab"):
            score(doc(self.RULE), FinalText("One."))


def test_half_for_the_share_and_half_for_all():
    question = doc(("startend:quotation", {}), ("keywords:existence", {"keywords": ["law"]}))
    assert score(question, FinalText('"the law"')).value == 1.0
    partial = score(question, FinalText("the law"))
    assert (partial.value, partial.reason, partial.metrics) == (
        0.25,
        "partial",
        {"all_followed": 0.0, "share_followed": 0.5},
    )
    assert partial.answer == "not startend:quotation, keywords:existence"


def test_an_empty_text_follows_nothing():
    rule = ("keywords:forbidden_words", {"forbidden_words": ["eye"]})
    assert followed(doc(rule), " \n") == (False,)
    assert score(doc(rule), FinalText(" \n")).status is Status.EMPTY


def test_an_unknown_rule_and_a_missing_value_are_errors_of_the_data():
    with pytest.raises(DataError, match="change_case"):
        score(doc(("change_case:english_capital", {})), FinalText("A"))
    with pytest.raises(DataError, match="num_words"):
        score(doc(("length_constraints:number_words", {"relation": "at least"})), FinalText("A"))


def test_there_are_sixteen_rules_and_each_is_tested():
    assert len(RULES) == 16
    assert {row[0] for row in CASES} | {"length_constraints:number_sentences"} == set(RULES)
