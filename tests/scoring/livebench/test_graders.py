"""Which grader a question gets, and that none of them ever matches a missing truth."""

import pytest

from evalkit.errors import DataError
from evalkit.model import FinalText
from evalkit.scoring.livebench import (
    GRADERS,
    coding,
    data_analysis,
    grader_of,
    instructions,
    kind_of,
    language,
    mathematics,
    score,
)

TASKS = [
    "LCB_generation",
    "coding_completion",
    "cta",
    "tablejoin",
    "tablereformat",
    "connections",
    "plot_unscrambling",
    "typos",
    "paraphrase",
    "simplify",
    "story_generation",
    "summarize",
    "web_of_lies_v2",
    "zebra_puzzle",
    "spatial",
]
SUBTASKS = ("amc_12a_2023", "updated_amc_12b_2023", "smc", "aime_ii_2024", "imo", "usamo", "amps_hard_gcd")


def doc(task, released="2024-11-25", **more):
    return {"question_id": "q1", "task": task, "release_date": released, **more}


@pytest.mark.parametrize("task", TASKS)
def test_every_task_of_the_release_has_a_grader(task):
    assert callable(grader_of(doc(task)))


@pytest.mark.parametrize(
    ("subtask", "kind"),
    [
        ("amc_12a_2023", "amc"),
        ("updated_amc_12b_2023", "amc"),
        ("smc", "amc"),
        ("aime_i_2024", "aime"),
        ("imo", "olympiad"),
        ("usamo", "olympiad"),
        ("amps_hard_complete_square", "amps_hard"),
    ],
)
def test_the_subtask_goes_before_the_task(subtask, kind):
    assert kind_of(doc("math_comp", subtask=subtask)) == kind


@pytest.mark.parametrize(
    ("task", "released", "grader"),
    [
        ("zebra_puzzle", "2024-06-24", language.grade_zebra_old),
        ("zebra_puzzle", "2024-11-24", language.grade_zebra_old),
        ("zebra_puzzle", "2024-11-25", language.grade_zebra_new),
        ("connections", "2024-06-24", language.grade_connections_old),
        ("connections", "2024-11-25", language.grade_connections_new),
        ("tablereformat", "2024-06-24", data_analysis.grade_reformat_v1),
        ("tablereformat", "2025-04-25", data_analysis.grade_reformat_v2),
        ("paraphrase", "2024-06-24", instructions.grade),
        ("AMPS_Hard", "2024-06-24", None),
        ("olympiad", "2024-08-31", mathematics.grade_olympiad),
        ("cta", "2024-06-24", data_analysis.grade_cta),
        ("LCB_generation", "2024-06-24", coding.grade),
    ],
)
def test_the_question_s_own_date_decides(task, released, grader):
    found = grader_of(doc(task, released))
    assert grader is None or found is grader


@pytest.mark.parametrize(
    "question",
    [doc("theory_of_mind"), doc("math_comp"), doc("summarize", "2025-11-25"), doc("cta", ""), {"task": "cta"}],
    ids=["unknown", "no subtask", "new rules", "no date", "not normalised"],
)
def test_a_question_without_a_grader_is_an_error_not_a_score(question):
    with pytest.raises(DataError):
        score(question, FinalText("anything"))


def test_the_table_names_graders_that_exist():
    for kind, since in [(kind, since) for kind, rules in GRADERS.items() for since, rule in rules.items() if rule]:
        subtask = {"amc": "smc", "aime": "aime_i_2024"}.get(kind)
        assert callable(grader_of(doc(kind, since or "2024-06-24", **({"subtask": subtask} if subtask else {}))))


PROMPT = "Please convert the Input Table from JSON format to CSV format"


@pytest.mark.parametrize("truth", [None, "", "  \n", "missing"])
@pytest.mark.parametrize("name", (*TASKS[2:8], *TASKS[12:], *SUBTASKS, "web_of_lies_v3"))
def test_a_missing_truth_raises_and_never_matches(name, truth):
    question = doc("math_comp" if name in SUBTASKS else name, prompt=PROMPT, ground_truth=truth)
    if name in SUBTASKS:
        question["subtask"] = name
    if truth == "missing":
        del question["ground_truth"]
    with pytest.raises(DataError, match="ground_truth"):
        score(question, FinalText("Answer: 1, 2\n**yes, no, yes**"))


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (doc("math_comp", subtask="smc", ground_truth="AB"), "one letter"),
        (doc("math_comp", subtask="aime_i_2024", ground_truth="n/a"), "digits"),
        (doc("olympiad", ground_truth="1,two"), "integers"),
        (doc("cta", ground_truth="--"), "letters or digits"),
        (doc("tablejoin", ground_truth="[1]"), "mapping"),
        (doc("tablejoin", ground_truth="{}"), "mapping"),
        (doc("tablereformat", ground_truth="a,b\n1,2", prompt="Make it nice."), "target format"),
        (doc("summarize"), "no list of instructions"),
        (doc("summarize", instruction_id_list=[], kwargs=[]), "no list of instructions"),
        (doc("summarize", instruction_id_list=["startend:quotation"], kwargs=[]), "no list of instructions"),
    ],
)
def test_a_truth_of_the_wrong_kind_raises(question, said):
    with pytest.raises(DataError, match=said):
        score(question, FinalText("a"))


def test_the_letter_readers_agree_on_plain_answers():
    for letter in "ABCDE":
        assert mathematics.read_letter(letter * 5) == letter
        assert mathematics.read_letter(rf"\boxed{{\text{{({letter})}}}}") == letter
        assert mathematics.read_letter(f"Therefore the answer is ({letter})") == letter
    assert mathematics.read_letter("No idea.") is None


def test_a_number_of_ten_thousand_digits_is_merely_wrong():
    question = doc("math_comp", subtask="aime_i_2024", ground_truth="073")
    assert score(question, FinalText("9" * 10_000)).value == 0
    assert score(doc("olympiad", ground_truth="1,2"), FinalText("Answer: " + "9" * 10_000)).value == 0
