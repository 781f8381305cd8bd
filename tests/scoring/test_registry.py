"""Scorers by name."""

import subprocess
import sys

import pytest

from evalkit.errors import SuiteError
from evalkit.scoring import aime, hooks
from evalkit.scoring.answers import choice
from evalkit.scoring.registry import SCORERS, scorer, version


def test_names_are_resolved():
    assert scorer("choice") is choice.score
    assert scorer("evalkit.scoring.aime:score") is aime.score


@pytest.mark.parametrize("name", sorted(SCORERS))
def test_every_name_has_a_scorer_and_a_version(name):
    assert callable(scorer(name))
    assert version(name).startswith(SCORERS[name] + "@")


@pytest.mark.parametrize("name", sorted(set(SCORERS) - {"option_logprobs"}))  # which reads log-probabilities, no text
def test_every_scorer_of_text_has_a_hook(name):
    assert callable(getattr(hooks, name))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("choise", "there is no scorer 'choise': did you mean 'choice'"),
        ("", "there is no scorer ''"),
        ("os.system", "there is no scorer 'os.system'"),
        ("a b:c", "there is no scorer"),
        ("no_such_package.scorers:score", "cannot be imported"),
        ("evalkit.scoring.answers.choice:scores", "has no function 'scores'"),
        ("evalkit.scoring.answers.choice:VERSION", "is no function but int"),
    ],
)
def test_a_name_that_leads_nowhere_says_what_to_write_instead(name, says):
    with pytest.raises(SuiteError, match=says):
        scorer(name)


def test_a_version_names_the_function_and_a_number():
    assert version("choice") == f"evalkit.scoring.answers.choice:score@{choice.VERSION}"
    assert version("evalkit.scoring.answers.choice:score") == version("choice")
    with pytest.raises(SuiteError, match="add `VERSION = 1`"):
        version("math:sqrt")


def test_looking_up_a_name_imports_nothing_heavy():
    code = (
        "import sys; from evalkit.scoring import registry; from evalkit.scoring.answers import worker; registry.scorer('integer'); registry.scorer('choice');"
        "print([m for m in ('sympy', 'math_verify', 'lm_eval', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
