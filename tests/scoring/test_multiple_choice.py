"""Rows as publishers ship them become documents with the same ids whatever the source."""

import random

import pytest

from evalkit.scoring import multiple_choice

GPQA_ROW = {
    "Record ID": "recINVENTED01",
    "Question": "A toy star of mass M doubles it. Which ratio follows? ",
    "Correct Answer": "4\n",
    "Incorrect Answer 1": "2",
    "Incorrect Answer 2": "8",
    "Incorrect Answer 3": "16",
    "High-level domain": "Physics",
    "Subdomain": "Astrophysics",
    "_part": "gpqa_diamond",
}
MMLU_ROW = {"question": "Which shape has exactly three sides?", "subject": "elementary_mathematics"}
MMLU_ROW |= {"choices": ["Square", "Triangle", "Circle", "Line"], "answer": 1}
MUSR_ROW = {
    "narrative": "Rita hid the key in the drawer while Omar watched the kettle.",
    "question": "Where would Omar look?",
    "choices": "['drawer', 'shelf', 'pocket']",
    "answer_index": 1,
    "answer_choice": "shelf",
    "_part": "object_placements",
}


def test_gpqa_options_come_in_an_order_that_only_the_record_decides():
    (one,) = multiple_choice.gpqa([GPQA_ROW], {})
    random.seed(7)
    (two,) = multiple_choice.gpqa([dict(reversed(GPQA_ROW.items()))], {})
    assert one == two
    assert one["choices"]["ABCD".index(one["answer"])] == "4"
    assert sorted(one["choices"]) == ["16", "2", "4", "8"]


def test_gpqa_key_follows_the_option_even_when_two_options_read_the_same():
    (document,) = multiple_choice.gpqa([{**GPQA_ROW, "Incorrect Answer 1": "4"}], {})
    assert document["choices"]["ABCD".index(document["answer"])] == "4"


def test_gpqa_positions_are_spread_over_the_letters():
    rows = [{**GPQA_ROW, "Record ID": f"rec{number}"} for number in range(400)]
    answers = [document["answer"] for document in multiple_choice.gpqa(rows, {})]
    assert all(60 < answers.count(letter) < 140 for letter in "ABCD")


def test_gpqa_pooled_counts_in_how_many_sets_a_question_is():
    rows = [GPQA_ROW, {**GPQA_ROW, "Record ID": "rec2"}, GPQA_ROW, GPQA_ROW]
    documents = multiple_choice.gpqa(rows, {})
    assert {document["id"]: document["subsets"] for document in documents} == {"recINVENTED01": 3, "rec2": 1}


def test_gpqa_keeps_brackets_of_chemistry_names():
    (document,) = multiple_choice.gpqa([{**GPQA_ROW, "Correct Answer": "[Fe(CN)6]4-"}], {})
    assert "[Fe(CN)6]4-" in document["choices"]


def test_mmlu_answers_may_be_index_or_letter_and_give_the_same_id():
    (one,) = multiple_choice.mmlu([MMLU_ROW], {})
    (two,) = multiple_choice.mmlu([{**MMLU_ROW, "answer": "B"}], {})
    assert one == two
    assert one["answer"] == "B"
    assert one["category"] == "STEM"


def test_mmlu_duplicates_keep_apart():
    ids = [document["id"] for document in multiple_choice.mmlu([MMLU_ROW, MMLU_ROW], {})]
    assert ids[1] == f"{ids[0]}-2"


def test_mmlu_share_takes_the_same_items_whatever_the_order():
    rows = [{**MMLU_ROW, "question": f"Which number is {n}?"} for n in range(95)]
    options = {"share": 0.1, "_split": "test"}
    kept = {document["id"] for document in multiple_choice.mmlu(rows, options)}
    assert len(kept) == 10
    assert kept == {document["id"] for document in multiple_choice.mmlu(rows[::-1], options)}


def test_mmlu_has_a_category_for_all_57_subjects():
    assert len(multiple_choice.MMLU_CATEGORY) + len(OTHER) == 57
    assert not OTHER & multiple_choice.MMLU_CATEGORY.keys()


OTHER = {
    "anatomy", "business_ethics", "clinical_knowledge", "college_medicine", "global_facts", "human_aging", "management",
    "marketing", "medical_genetics", "miscellaneous", "nutrition", "professional_accounting", "professional_medicine", "virology",
}  # fmt: skip


def test_musr_reads_the_option_list_without_running_it():
    (document,) = multiple_choice.musr([MUSR_ROW], {})
    assert document["choices"] == ["drawer", "shelf", "pocket"]
    assert document["answer"] == "B"
    with pytest.raises(ValueError, match="no list"):
        multiple_choice.musr([{**MUSR_ROW, "choices": "__import__('os').system('true')"}], {})


def test_musr_refuses_an_answer_that_contradicts_itself():
    with pytest.raises(ValueError, match="disagree"):
        multiple_choice.musr([{**MUSR_ROW, "answer_choice": "drawer"}], {})


def test_musr_questions_on_one_story_share_it():
    one, two = multiple_choice.musr([MUSR_ROW, {**MUSR_ROW, "question": "Where would Rita look?"}], {})
    assert one["story"] == two["story"]
    assert one["id"] != two["id"]
