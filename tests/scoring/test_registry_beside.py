"""Scorers and preparers that lie beside a suite's file: found, kept apart, read again when they change, called safely."""

import sys

import pytest

from evalkit.errors import SuiteError
from evalkit.model import FinalText, Status
from evalkit.scoring.answers.worker import run_limited
from evalkit.scoring.registry import CodeError, called, graded, preparer, printable, scorer, version

SCORER = "from evalkit.model import Score, Status\nfrom . import helper\n\n\ndef score(doc, final):\n    return Score(helper.VALUE, Status.SCORED)\n"


@pytest.fixture
def suite_file(tmp_path):
    (tmp_path / "mine.py").write_text(SCORER)
    (tmp_path / "helper.py").write_text("VALUE = 0.5\n")
    (tmp_path / "suite.yaml").write_text("")
    return tmp_path / "suite.yaml"


def value(suite_file):
    return scorer("mine:score", suite_file)({}, FinalText("x")).value


def test_what_lies_beside_is_found_and_nothing_else_can_import_it(suite_file):
    before = list(sys.path)
    assert value(suite_file) == 0.5
    assert sys.path == before
    assert "mine" not in sys.modules
    with pytest.raises(SuiteError, match=r"the module mine cannot be imported.*No module named 'mine'"):
        scorer("mine:score")
    assert not (suite_file.parent / "__pycache__").exists(), "no compiled code is left beside a suite"


def test_two_folders_have_modules_of_one_name(suite_file, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.py").write_text(SCORER)
    (other / "helper.py").write_text("VALUE = 0.25\n")
    first, second = scorer("mine:score", suite_file), scorer("mine:score", other / "suite.yaml")
    assert [one({}, FinalText("x")).value for one in (first, second, first)] == [0.5, 0.25, 0.5]


@pytest.mark.parametrize("name", ["mine.py", "helper.py"])
def test_changed_code_is_another_version_and_is_read_again(suite_file, name):
    first = version("mine:score", suite_file)
    assert first.startswith("mine:score@")
    assert version("mine:score", suite_file) == first
    changed = suite_file.parent / name
    changed.write_text(changed.read_text().replace("0.5", "1.0").replace("helper.VALUE", "helper.VALUE / 2"))
    assert version("mine:score", suite_file) != first
    assert value(suite_file) != 0.5


def test_code_that_nobody_imports_is_no_part_of_a_version(suite_file):
    first = version("mine:score", suite_file)
    (suite_file.parent / "other.py").write_text("VALUE = 1\n")
    assert version("mine:score", suite_file) == first


def test_a_module_in_a_folder_beside_is_found(suite_file):
    folder = suite_file.parent / "code"
    folder.mkdir()
    (folder / "rows.py").write_text("def prepare(rows, options):\n    return list(rows)\n")
    assert preparer("code.rows:prepare", suite_file)([1], {}) == [1]


def test_evalkits_own_are_never_taken_from_beside(suite_file):
    (suite_file.parent / "evalkit").mkdir()
    (suite_file.parent / "evalkit" / "scoring.py").write_text("def score(doc, final):\n    return None\n")
    with pytest.raises(SuiteError, match="has no function 'score'"):
        scorer("evalkit.scoring:score", suite_file)


def test_a_grading_process_finds_what_lies_beside(suite_file):
    (suite_file.parent / "slow.py").write_text(
        "from evalkit.scoring.answers.worker import run_limited\n\n\n"
        "def double(x):\n    return 2 * x\n\n\ndef prepare(rows, options):\n"
        "    return [run_limited(f'{__name__}:double', [row], 5.0) for row in rows]\n"
    )
    assert preparer("slow:prepare", suite_file)([1, 2], {}) == [2, 4]
    assert run_limited("math:sqrt", [4.0], 5.0) == 2.0


def test_ctrl_c_is_nobodys_error():
    def interrupted(_doc, _final):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        graded(interrupted, {}, FinalText("x"), right_or_wrong=False)


def test_an_exception_that_cannot_be_shown_is_shown():
    class OddError(Exception):
        def __str__(self):
            raise ValueError

    def odd(_doc, _final):
        raise OddError

    found = graded(odd, {}, FinalText("x"), right_or_wrong=False)
    assert (found.value, found.status) == (None, Status.GRADE_ERROR)
    assert "OddError" in found.reason


def test_an_error_is_placed_in_the_users_own_code_not_in_the_library_that_raised_it(suite_file):
    (suite_file.parent / "reads.py").write_text(
        "import json\n\n\ndef prepare(rows, options):\n    return json.loads('{')\n"
    )
    with pytest.raises(CodeError, match=r"JSONDecodeError: .*reads\.py:5\)$"):
        called(preparer("reads:prepare", suite_file), [], {})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", "a b"),
        ("\x1b[2J", r"\x1b[2J"),
        ("x" * 50, "x" * 17 + "..."),
        ("選\U0001f600", "選\U0001f600"),
        ("", ""),
    ],
)
def test_what_is_printable_is_bounded_and_escaped(text, shown):
    assert printable(text, 20) == shown
