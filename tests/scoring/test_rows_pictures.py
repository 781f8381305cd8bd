"""Published rows become documents: marks point at pictures by number, options are flat, damage is mended and listed."""

import collections
import json

import pytest

from evalkit.scoring import mathvision, mmmu, perception

PICTURE = {"bytes": b"not decoded", "path": "a.png"}


def one(function, row, options=None):
    [document] = function([row], options or {})
    return document


MMMU = {
    "id": "validation_Math_901",
    "question": "<image 2> and <image 1> show triangles. Which is larger?",
    "options": "['<image 3>', 'the \"left\" one', '10', '12']",
    "explanation": "",
    "image_1": PICTURE,
    "image_2": PICTURE,
    "image_3": PICTURE,
    "image_4": None,
    "img_type": "['Geometric Shapes']",
    "answer": "B",
    "topic_difficulty": "Easy",
    "question_type": "multiple-choice",
    "subfield": "Geometry",
}


def test_mmmu_choice():
    document = one(mmmu.mmmu, MMMU)
    assert document["type"] == "choice"
    assert document["choices"] == ["<image 3>", 'the "left" one', "10", "12"]
    assert document["options"].splitlines()[1] == 'B. the "left" one'
    assert document["answer"] == "B"
    assert document["images"] == ["image_1", "image_2", "image_3"]
    assert document["question"].startswith("<image 2> and <image 1>"), "by number, not by order of appearance"
    assert (document["subject"], document["discipline"]) == ("Math", "Science")


def test_marks_follow_the_columns_over_a_gap():
    document = one(mmmu.mmmu, {**MMMU, "image_1": None})
    assert document["images"] == ["image_2", "image_3"]
    assert document["question"].startswith("<image 1> and [image 1] show"), "a mark without its picture is only words"
    assert document["choices"][0] == "<image 2>"


@pytest.mark.parametrize(
    ("answer", "truths"),
    [
        ("8.4", ["8.4"]),
        ("['7/3', '2.333']", ["7/3", "2.333"]),
        ("[1, 2)", ["[1, 2)"]),
        ("[]", ["[]"]),
    ],
)
def test_mmmu_open_answers(answer, truths):
    document = one(mmmu.mmmu, {**MMMU, "question_type": "open", "options": "[]", "answer": answer})
    assert (document["type"], document["choices"], document["options"]) == ("open", [], "")
    assert document["answers"] == truths
    assert document["answer"] == truths[0]


def test_all_thirty_subjects_have_a_discipline():
    assert len(mmmu.DISCIPLINE_OF) == 30
    assert len(set(mmmu.DISCIPLINE_OF.values())) == 6


def test_mmmu_pro_standard_and_vision():
    options = repr([[f"style {n}" for n in range(12)]])
    standard = {
        "id": "test_Art_9001",
        "question": "Which style does <image 1> show?",
        "options": options,
        "image_1": PICTURE,
        "answer": "L",
        "topic_difficulty": "Hard",
        "subject": "Art_Theory",
    }
    document = one(mmmu.mmmu_pro, standard)
    assert len(document["choices"]) == 12, "twelve options, published one level too deep"
    assert document["answer"] == "L"
    vision = {"id": "test_Art_9001", "image": PICTURE, "options": options, "answer": "L", "subject": "Art_Theory"}
    document = one(mmmu.mmmu_pro, vision)
    assert (document["question"], document["images"]) == ("<image 1>", ["image"])
    assert document["discipline"] == "Art and Design"


CMMMU = {
    "id": "90001",
    "type": "选择",
    "question": '比较<img="q_2.png">与<img="q_1.png">，正确的是____。',
    "option1": "2",
    "option2": '<img="q_1.png">',
    "option3": "6",
    "option4": "-",
    "image_1": PICTURE,
    "image_2": PICTURE,
    "image_3": None,
    "image_1_filename": "q_1.png",
    "image_2_filename": "q_2.png",
    "answer": "C, A",
    "category": "科学",
    "subcategory": "数学",
    "difficulty_level": "easy",
}


def test_cmmmu_maps_file_names_to_columns():
    document = one(mmmu.cmmmu, CMMMU)
    assert document["question"] == "比较<image 2>与<image 1>，正确的是____。"
    assert document["choices"] == ["2", "<image 1>", "6"]
    assert (document["type"], document["answer"]) == ("choice", "AC")
    assert (document["discipline"], document["subject"]) == ("科学", "数学")


def test_cmmmu_other_types_keep_their_answer():
    assert one(mmmu.cmmmu, {**CMMMU, "type": "判断", "answer": "错"})["type"] == "true_false"
    document = one(mmmu.cmmmu, {**CMMMU, "type": "填空", "answer": "B>A"})
    assert (document["type"], document["answer"], document["choices"]) == ("fill", "B>A", [])


def test_cii_bench():
    row = {f"option{n}": f"寓意{n}" for n in range(1, 7)} | {
        "id": "test-9001", "image": PICTURE, "question": "这张图片有什么隐喻？", "answer": "F", "domain": "环境",
        "emotion": {"choices": ["中性"]}, "rhetoric": ["隐喻", "对比"], "local_path": "test/images/9001.jpg",
    }  # fmt: skip
    document = one(mmmu.cii_bench, row)
    assert (document["answer"], len(document["choices"])) == ("F", 6)
    assert (document["emotion"], document["rhetoric"], document["difficulty"]) == ("中性", "隐喻、对比", "unknown")


def test_blink_puts_all_pictures_in_front():
    row = {
        "idx": "val_Jigsaw_901", "question": "Which fits?", "sub_task": "Jigsaw", "image_1": PICTURE,
        "image_2": PICTURE, "image_3": PICTURE, "image_4": None, "choices": ["the second image", "the third image"],
        "answer": "(B)", "prompt": "Which fits?\n(A) the second image\n(B) the third image",
    }  # fmt: skip
    document = one(perception.blink, row)
    assert document["question"].startswith("<image 1> <image 2> <image 3>\nWhich fits?")
    assert document["answer"] == "B"


MATHVISION = {
    "id": "9001", "question": "What is the area?\n<image1>", "options": [], "image": "images/9001.jpg",
    "decoded_image": PICTURE, "answer": "12", "solution": None, "level": 2, "subject": "metric geometry - area",
}  # fmt: skip


def test_mathvision():
    document = one(mathvision.mathvision, MATHVISION)
    assert (document["type"], document["question"]) == ("open", "What is the area?\n<image 1>")
    assert document["images"] == ["decoded_image"]
    parts = one(mathvision.mathvision, {**MATHVISION, "question": "Which?\n<image1><image2>", "decoded_image": None})
    assert parts["question"] == "Which?\n[figure 1][figure 2]", "parts of the one picture, which goes in front"
    assert parts["images"] == ["image"]
    choice = one(mathvision.mathvision, {**MATHVISION, "options": ["1", "2", "3 ", "4", "5"], "answer": "C"})
    assert (choice["type"], choice["choices"][2]) == ("choice", "3")


@pytest.mark.parametrize(
    ("given", "mended"),
    [
        ("\x0crac{3}{13}", r"\frac{3}{13}"),
        ("70{degrees}", "70"),
        (r"8\sqrt{2}{squareinches}", r"8\sqrt{2}"),
        ("12 ", "12"),
    ],
)
def test_mathvision_damage_is_mended_and_listed(given, mended):
    document = one(mathvision.mathvision, {**MATHVISION, "answer": given})
    assert (document["answer"], document["mended"]) == (mended, given)
    assert one(mathvision.mathvision, MATHVISION)["mended"] == ""


def test_ocrbench_from_both_publications():
    hub = {"dataset": "IIIT5K", "question": "what is written in the image?", "answer": ["HARBOR"], "image": PICTURE,
           "question_type": "Regular Text Recognition"}  # fmt: skip
    repository = {"dataset_name": "IIIT5K", "id": 7, "image_path": "a/b.png", "answers": "HARBOR",
                  "question": "what is written in the image?", "type": "Regular Text Recognition"}  # fmt: skip
    first, second = one(perception.ocrbench, hub), one(perception.ocrbench, repository)
    assert first | {"images": 0} == second | {"images": 0}
    assert (first["images"], second["images"]) == (["image"], ["image_path"])
    assert (first["group"], first["nfkc"]) == ("Text Recognition", False)
    assert one(perception.ocrbench, hub, {"nfkc": True})["nfkc"] is True
    twice = perception.ocrbench([hub, hub], {})
    assert twice[1]["id"] == twice[0]["id"] + "-2"
    formula = one(perception.ocrbench, {**hub, "question_type": "Handwritten Mathematical Expression Recognition"})
    assert formula["group"] == formula["type"]


def test_mmvet_marks_pictures_for_the_model_and_for_the_judge():
    row = {"id": "v2_9001", "question": "<IMG><image_0><IMG>How many more cups than in <IMG><image_1><IMG>?",
           "image_0": PICTURE, "image_1": PICTURE, "image_2": None, "answer": "3<OR>three",
           "capability": ["rec", "math"], "added_in": "v2"}  # fmt: skip
    document = one(perception.mmvet, row)
    assert document["question"] == "<image 1>How many more cups than in <image 2>?"
    assert document["judge_question"] == "[image 1]How many more cups than in [image 2]?"
    assert (document["truth"], document["combination"]) == ("3<OR>three", "math+rec")
    assert document["images"] == ["image_0", "image_1"]


def test_mmvet_keeps_ten_and_more_pictures_in_order():
    row = {f"image_{n}": PICTURE for n in reversed(range(17))} | {
        "id": "v2_1",
        "question": "<image_11>?",
        "answer": "a",
    }
    document = one(perception.mmvet, row)
    assert document["images"] == [f"image_{n}" for n in range(17)]
    assert document["question"] == "<image 12>?"


@pytest.mark.parametrize(
    ("function", "row", "says"),
    [
        (mmmu.mmmu, {**MMMU, "answer": "E"}, "row 0 .*'E', which is none of its 4 options"),
        (mmmu.mmmu, {**MMMU, "options": "__import__('os')"}, "options that are no list"),
        (mmmu.mmmu, {**MMMU, "options": "[" * 9000}, "options that are no list"),
        (mmmu.mmmu, {**MMMU, "image_1": None, "image_2": None, "image_3": None}, "no picture"),
        (mmmu.mmmu, {**MMMU, "id": None}, "no 'id'"),
        (mmmu.cmmmu, {**CMMMU, "type": "选"}, "the type"),
        (mmmu.cmmmu, {**CMMMU, "answer": "D"}, "none of its 3 options"),
        (mathvision.mathvision, {**MATHVISION, "options": ["1", "2"], "answer": "C"}, "none of its 2 options"),
        (perception.ocrbench, {"dataset": "svt", "question": "q", "question_type": "t", "answer": [""]}, "empty one"),
        (perception.ocrbench, {"dataset": "svt", "question": "q", "question_type": "t", "answer": None}, "no answer"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(function, row, says):
    with pytest.raises(ValueError, match=says):
        function([row], {})


def test_shared_mathvision_rows(shared_data):
    published = [json.loads(line) for line in (shared_data / "mm_mathvision" / "test.jsonl").open()]
    documents = mathvision.mathvision(published, {})
    assert collections.Counter(d["type"] for d in documents) == {"choice": 1532, "open": 1508}
    assert {d["id"] for d in documents if d["mended"]} == {"2521", "2830", "2947", "3007", "3008"}
    assert len({d["id"] for d in documents}) == 3040


def test_shared_ocrbench_rows(shared_data):
    documents = perception.ocrbench(json.loads((shared_data / "mm_ocrbench" / "OCRBench.json").read_text()), {})
    assert len({d["id"] for d in documents}) == 1000
    assert collections.Counter(d["group"] for d in documents) == {
        "Text Recognition": 300,
        "Scene Text-centric VQA": 200,
        "Doc-oriented VQA": 200,
        "Key Information Extraction": 200,
        "Handwritten Mathematical Expression Recognition": 100,
    }


def test_shared_mmmu_pro_rows(shared_data):
    path = shared_data / "mm_mmmu_pro_outputs" / "gpt4o_vision_direct.jsonl"
    published = [json.loads(line) | {"image": PICTURE} for line in path.open()]
    documents = mmmu.mmmu_pro(published, {})
    assert len(documents) == 1730
    assert max(len(d["choices"]) for d in documents) == 12
    assert collections.Counter(d["answer"] for d in documents)["I"] == 133
    assert "unknown" not in {d["discipline"] for d in documents}
