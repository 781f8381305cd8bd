"""MM-Vet v2's judge pass: both sides in one pass, cached, asked again where it cannot be read, never scored by luck."""

import base64
import io
import json
import re

import pytest
from PIL import Image
from stored_run import journal_records

SUITE = {"name": "mmvet_v2", "partial_data": True, "margin_pt": 20}


@pytest.fixture
def mmvet(tmp_path):
    folder = tmp_path / "data" / "mmvet_v2"
    folder.mkdir(parents=True)
    rows = []
    for n in range(24):
        Image.new("RGB", (8, 8), (n * 10, 0, 255 - n * 10)).save(folder / f"{n}.png")
        row = {"id": f"v2_{n}", "question": f"<IMG><image_0><IMG>How many cups? (hint {n})", "image_0": f"{n}.png"}
        rows.append({**row, "answer": f"{n}<OR>number {n}", "capability": ["rec", "math"]})
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "data"


def number_in(messages):
    text = " ".join(part.get("text", "") for part in messages[-1]["content"])
    hint = re.search(r"hint (\d+)", text)
    return int(hint.group(1)) if hint else 0  # the preflight's question has none


class Judge:
    """Grades 1 where the answer holds the truth's number; every fifth first reply cannot be read."""

    def __init__(self, endpoint):
        endpoint.answer = self
        self.cases = []

    def __call__(self, messages):
        case = json.loads(messages[-1]["content"])
        self.cases.append(case)
        truth = case["truth"].split("<OR>")[0]
        if int(truth) % 5 == 0 and "could not be read" not in messages[0]["content"]:
            return "I would say quite good, 8/10"
        return json.dumps({"score": 1.0 if re.search(rf"\b{truth}\b", case["answer"]) else 0.2})


def judged(config, name, url, mmvet, judge_url, **more):
    judge = {"base_url": judge_url, "model": "loopback", "noise_items": 0, **more}
    return config(name, url, [SUITE], data=str(mmvet), judge=judge)


def test_both_sides_are_judged_once_and_alike(endpoint, other_endpoint, make_endpoint, config, run_evalkit, mmvet):
    third = make_endpoint()
    judge = Judge(third)
    endpoint.answer = lambda messages: f"There are {number_in(messages)} cups."
    other_endpoint.answer = lambda messages: f"There are {number_in(messages) + (number_in(messages) % 8 == 0)} cups."
    ref = judged(config, "ref", endpoint.url, mmvet, third.url)
    cand = judged(config, "cand", other_endpoint.url, mmvet, third.url)
    done = run_evalkit("compare", ref, cand, "--json", "--quiet")
    document = json.loads(done.stdout)
    (suite,) = document["suites"]
    assert suite["n_items"] == 24, done.stderr
    assert suite["reference"]["mean"] == pytest.approx(1.0)
    assert suite["candidate"]["mean"] == pytest.approx((21 + 3 * 0.2) / 24)
    distinct = {(case["question"], case["answer"]) for case in judge.cases}
    assert len(distinct) == 24 + 3, "an answer that both sides gave is judged once"
    asked = len(judge.cases)
    again = run_evalkit("compare", ref, cand, "--json", "--quiet")
    assert json.loads(again.stdout)["suites"][0]["candidate"]["mean"] == pytest.approx(suite["candidate"]["mean"])
    assert len(judge.cases) == asked, "grades are kept"


def test_pictures_arrive_as_the_pixels_of_the_data_set(endpoint, config, run_evalkit, mmvet):
    endpoint.answer = lambda messages: "3"
    done = run_evalkit("run", judged(config, "ref", endpoint.url, mmvet, endpoint.url), "--quiet")
    assert done.returncode == 3, done.stderr
    seen = {}
    for body in endpoint.requests:
        content = body["messages"][-1]["content"]
        if isinstance(content, list) and "hint" in json.dumps(content):
            (url,) = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
            picture = Image.open(io.BytesIO(base64.b64decode(url.split(",")[1])))
            assert picture.mode == "RGB"
            seen[number_in(body["messages"])] = picture.getpixel((0, 0))
    assert seen == {n: (n * 10, 0, 255 - n * 10) for n in range(24)}


def test_without_a_judge_the_suite_is_not_run_and_says_so(endpoint, config, run_evalkit, mmvet):
    done = run_evalkit("run", config("ref", endpoint.url, [SUITE], data=str(mmvet)), "--quiet")
    assert done.returncode == 2
    assert "needs a judge" in done.stderr
    assert not endpoint.requests


def test_a_judge_that_is_never_readable_leaves_no_score(endpoint, other_endpoint, config, run_evalkit, mmvet):
    other_endpoint.answer = lambda messages: "excellent!"
    endpoint.answer = lambda messages: "3 cups"
    done = run_evalkit("run", judged(config, "ref", endpoint.url, mmvet, other_endpoint.url), "--json", "--quiet")
    (suite,) = json.loads(done.stdout)["suites"]
    assert suite["mean"] is None
    assert suite["counts"] == {"grade_error": 24}
    assert len(other_endpoint.requests) == 24 * 5


def test_a_judge_that_changes_its_name_stops_the_grading(
    endpoint, other_endpoint, config, run_evalkit, mmvet, tmp_path
):
    endpoint.answer = lambda messages: f"{number_in(messages)} cups"
    Judge(other_endpoint)
    path = judged(config, "ref", endpoint.url, mmvet, other_endpoint.url)
    other_endpoint.spoil = lambda body, number: (
        None if number <= 6 else (200, {"model": "loopback-2", "choices": [{"message": {"content": '{"score": 1}'}}]})
    )
    done = run_evalkit("run", path, "--json", "--quiet")
    assert done.returncode == 3
    assert "loopback, loopback-2" in done.stderr
    assert "a judge that changes is no judge" in done.stderr
    (folder,) = (tmp_path / "runs").glob("judge-*")
    assert "loopback-2" not in str(journal_records(folder)), "what the second judge said is not kept"
    answers = len(endpoint.requests)
    other_endpoint.spoil = lambda body, number: None
    done = run_evalkit("run", path, "--json", "--quiet")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["suites"][0]["mean"] == pytest.approx(1.0)
    assert len(endpoint.requests) == answers, "the answers were kept"


def test_a_judge_that_refuses_leaves_the_answers_and_score_asks_nobody(
    endpoint, other_endpoint, config, run_evalkit, mmvet
):
    endpoint.answer = lambda messages: f"{number_in(messages)} cups"
    judge = Judge(other_endpoint)
    path = judged(config, "ref", endpoint.url, mmvet, other_endpoint.url, repeats=2)
    other_endpoint.spoil = lambda body, number: (400, {"error": {"message": "no quota"}})
    done = run_evalkit("run", path, "--quiet")
    assert done.returncode == 3
    assert "judge: stopped after 20 failures" in done.stderr
    assert "no quota" in done.stderr
    other_endpoint.spoil = lambda body, number: None
    done = run_evalkit("score", path, "--json")
    (suite,) = json.loads(done.stdout)["suites"]
    assert (suite["mean"], suite["counts"], judge.cases) == (None, {"grade_error": 24}, [])
    assert run_evalkit("run", path, "--quiet").returncode == 0
    assert len(judge.cases) == 2 * (24 + 5), "two gradings an answer, and five first replies that cannot be read"
    asked = len(other_endpoint.requests)
    done = run_evalkit("score", path, "--json")
    assert json.loads(done.stdout)["suites"][0]["mean"] == pytest.approx(1.0)
    assert len(other_endpoint.requests) == asked, "stored grades are enough"
