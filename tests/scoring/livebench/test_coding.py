"""Coding questions: tests are decoded safely, programs run only where that is allowed and possible."""

import base64
import json
import os
import pickle
import zlib

import pytest

from evalkit.errors import DataError
from evalkit.model import FinalText, Status
from evalkit.scoring.answers import sandbox
from evalkit.scoring.answers.worker import GradeTimeout
from evalkit.scoring.livebench import coding, score
from evalkit.scoring.livebench import coding as cases
from evalkit.scoring.livebench.coding import Case, cases_of, unpack


def some_tests(*pairs):
    return [{"input": given, "output": expected, "testtype": "stdin"} for given, expected in pairs]


def packed(value):
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


def doc(task="LCB_generation", *, allowed=True, **more):
    return {
        "question_id": "q1",
        "task": task,
        "release_date": "2024-06-24",
        "public_test_cases": json.dumps(some_tests(("1 2\n", "3\n"))),
        "private_test_cases": packed(json.dumps(some_tests(("10 20\n", "30\n"), ("-1 1\n", "0")))),
        **({"allow_code_execution": True} if allowed else {}),
        **more,
    }


ADD = "```python\na, b = map(int, input().split())\nprint(a + b)\n```"


class TestCases:
    def test_public_ones_come_first_and_private_ones_are_unpacked(self):
        assert cases_of(doc()) == (Case("1 2\n", "3\n"), Case("10 20\n", "30\n"), Case("-1 1\n", "0"))

    def test_private_ones_may_be_plain_json(self):
        plain = json.dumps(some_tests(("5 5", "10")))
        assert cases_of(doc(private_test_cases=plain))[-1] == Case("5 5", "10")

    @pytest.mark.parametrize("public", [None, "", "[]"])
    def test_no_tests_at_all_raise_and_never_pass(self, public):
        with pytest.raises(DataError, match="no tests"):
            cases_of(doc(public_test_cases=public, private_test_cases=None))

    @pytest.mark.parametrize(
        "broken",
        [
            "not base64 %",
            base64.b64encode(b"not zlib").decode(),
            packed(["a", "list"]),
            packed("not json"),
            "[1]",
            '[{"input": "1"}]',
        ],
        ids=["text", "zlib", "list", "content", "number", "half a test"],
    )
    def test_what_cannot_be_read_raises(self, broken):
        with pytest.raises(DataError, match="private_test_cases"):
            cases_of(doc(private_test_cases=broken))

    def test_a_pickle_that_would_run_something_is_refused(self, tmp_path):
        class Hostile:
            def __reduce__(self):
                return os.system, (f"touch {tmp_path}/ran",)

        hostile = packed(Hostile())
        with pytest.raises(pickle.UnpicklingError, match="system"):
            unpack(hostile)
        with pytest.raises(DataError):
            cases_of(doc(private_test_cases=hostile))
        assert not list(tmp_path.iterdir())

    def test_even_harmless_classes_are_refused(self):
        with pytest.raises(pickle.UnpicklingError, match="Case"):
            unpack(packed(Case("1", "2")))

    def test_a_bomb_is_not_inflated(self, monkeypatch):
        monkeypatch.setattr(cases, "LARGEST_UNPACKED", 1000)
        with pytest.raises(ValueError, match="more than 1000"):
            unpack(packed("x" * 10_000))


class TestReading:
    @pytest.mark.parametrize(
        ("text", "code", "fenced"),
        [
            ("```python\nx = 1\n```", "x = 1", True),
            ("First:\n```\na\n```\nBetter:\n```python\nb\n```\nDone.", "b", True),
            ("x = 1\ny = 2\n", "x = 1\ny = 2", False),
            ("x = 1\n```", "x = 1", False),
        ],
    )
    def test_the_code_between_the_last_fences(self, text, code, fenced):
        assert coding.extract_code(text) == (code, fenced)

    def test_a_completion_goes_behind_the_beginning_unless_it_repeats_it(self):
        assert coding.complete("    return 1", "def f():") == "def f():\n    return 1"
        assert coding.complete("def f():\n    return 1", "def f():") == "def f():\n    return 1"

    @pytest.mark.parametrize(
        ("printed", "expected", "same"),
        [
            ("3\n", "3", True),
            (" 3 \n 4 \n", "3\n4", True),
            ("3.0", "3", True),
            ("0.5 1e1", "0.50 10", True),
            ("Yes", "YES", False),
            ("3\n\n4", "3\n4", False),
            ("3 4", "3\n4", False),
            ("", "", True),
            ("nan", "NaN", False),
            ("0.30000000000000004", "0.3", False),
        ],
    )
    def test_outputs_are_compared_line_by_line(self, printed, expected, same):
        assert coding.same_output(printed, expected) is same

    @pytest.mark.parametrize(
        ("returned", "expected", "same"),
        [
            ("[1, 2]", "[1,2]", True),
            ("1.0", "1", True),
            ("null", "0", False),
            ("", "1", False),
            ("[" * 10_000, "1", False),
        ],
    )
    def test_values_are_compared_as_json(self, returned, expected, same):
        assert coding.same_value(returned, expected) is same


class TestPermission:
    def test_nothing_runs_without_it(self, monkeypatch):
        monkeypatch.setattr(sandbox, "run", lambda *_: pytest.fail("a program was run"))
        for question in (doc(allowed=False), doc(allow_code_execution="true"), doc(allow_code_execution=1)):
            given = score(question, FinalText(ADD))
            assert (given.value, given.status) == (None, Status.NOT_ASKED)
            assert "allow_code_execution" in given.reason

    def test_nothing_runs_without_bubblewrap(self, monkeypatch):
        monkeypatch.setattr(sandbox, "available", lambda: "bwrap is not installed")
        monkeypatch.setattr(sandbox, "run", lambda *_: pytest.fail("a program was run"))
        given = score(doc(), FinalText(ADD))
        assert (given.value, given.status, given.reason) == (None, Status.NOT_ASKED, "bwrap is not installed")

    def test_an_empty_reply_is_not_asked_either_so_that_both_sides_count_alike(self):
        assert score(doc(allowed=False), FinalText("", Status.EMPTY, "empty")).status is Status.NOT_ASKED

    def test_a_sandbox_that_fails_is_no_verdict(self, monkeypatch):
        def fail(*_):
            raise sandbox.SandboxError("no namespaces left")

        monkeypatch.setattr(sandbox, "available", lambda: None)
        monkeypatch.setattr(sandbox, "run", fail)
        assert score(doc(), FinalText(ADD)).status is Status.GRADE_ERROR

    def test_tests_without_end_are_no_verdict(self, monkeypatch):
        monkeypatch.setattr(coding, "SECONDS_PER_QUESTION", -1.0)
        with pytest.raises(GradeTimeout):
            coding.grade(doc(), ADD)


@pytest.fixture
def needs_sandbox():
    if why := sandbox.available():
        pytest.skip(why)


@pytest.mark.usefixtures("needs_sandbox")
class TestRunning:
    def test_all_tests_pass(self):
        given = score(doc(), FinalText(ADD))
        assert (given.value, given.reason, given.answer) == (1.0, "right", "3 of 3 tests")
        assert given.metrics == {"tests_passed": 1.0}

    @pytest.mark.parametrize(
        ("body", "reason", "passed"),
        [
            ("a, b = map(int, input().split())\nprint(abs(a) + b)", "wrong", 2 / 3),
            ("print(3)", "wrong", 1 / 3),
            ("raise SystemExit(1)", "runtime_error", 0),
            ("this is no program", "runtime_error", 0),
            ("print('x' * 2**25)", "output_limit", 0),
        ],
    )
    def test_the_first_failure_ends_it_and_is_named(self, body, reason, passed):
        given = score(doc(), FinalText(f"```python\n{body}\n```"))
        assert (given.value, given.status, given.reason) == (0.0, Status.SCORED, reason)
        assert given.metrics["tests_passed"] == pytest.approx(passed)

    def test_a_program_without_end_is_wrong_not_missing(self, monkeypatch):
        monkeypatch.setattr(coding, "_LIMITS", sandbox.Limits(seconds=0.5))
        given = score(doc(), FinalText("```python\nimport time\ntime.sleep(10**9)\n```"))
        assert (given.value, given.reason) == (0.0, "time_limit")

    def test_a_function_is_called_with_one_value_a_line(self):
        tests = json.dumps(some_tests(("[1, 2]\n3", "[1, 2, 3]"), ('["a"]\n"b"', '["a", "b"]')))
        question = doc(public_test_cases=tests, private_test_cases=None, func_name="extend")
        method = "class Solution:\n    def extend(self, items: List[int], item):\n        print('noise')\n        return tuple(items + [item])"
        plain = "def extend(items, item):\n    return items + [item]"
        for code in (method, plain):
            assert score(question, FinalText(f"```python\n{code}\n```")).value == 1, code

    def test_a_completion_is_run_whole(self):
        begin = "a, b = map(int, input().split())\nif a:"
        question = doc("coding_completion", partial_solution=begin)
        assert score(question, FinalText("```python\n    print(a + b)\n```")).value == 1
        assert score(question, FinalText("    print(a + b)")).value == 1

    def test_common_names_are_there_without_an_import(self):
        body = "data = Counter(input().split())\nheap = sorted(map(int, data))\nprint(reduce(lambda a, b: a + b, heap), end='')\nprint(pow(2, 0, 5) * '')"
        assert score(doc(), FinalText(f"```python\n{body}\n```")).value == 1

    def test_the_main_guard_is_honoured(self):
        body = "def main():\n    print(sum(map(int, input().split())))\nif __name__ == '__main__':\n    main()"
        assert score(doc(), FinalText(f"```python\n{body}\n```")).value == 1

    def test_a_program_cannot_find_the_expected_results(self):
        body = (
            "import os\nseen = ''\nfor folder in ('/code', '/tmp', '/dev/fd'):\n    if os.path.isdir(folder):\n"
            "        for name in os.listdir(folder):\n            seen += name\nprint('30' in seen)"
        )
        tests = json.dumps(some_tests(("10 20\n", "False")))
        question = doc(public_test_cases=tests, private_test_cases=None)
        assert score(question, FinalText(f"```python\n{body}\n```")).value == 1


def test_a_text_that_was_cut_off_counts_only_with_closed_fences(monkeypatch):
    monkeypatch.setattr(sandbox, "available", lambda: None)
    monkeypatch.setattr(sandbox, "run", lambda *_: sandbox.Outcome(sandbox.Ending.EXITED, 0, b"3\n", "", 0.1))
    question = doc(private_test_cases=None)
    assert score(question, FinalText(ADD, truncated=True)).reason == "truncated_with_answer"
    assert score(question, FinalText("print(3)", truncated=True)).status is Status.TRUNCATED


@pytest.mark.parametrize("text", ["```python\n```", "```python\n\n```"])
def test_no_code_is_no_answer(monkeypatch, text):
    monkeypatch.setattr(sandbox, "available", lambda: None)
    given = score(doc(), FinalText(text))
    assert (given.value, given.status) == (0.0, Status.NO_ANSWER)
