"""Programs of other projects that a variable names, for tests that are opt-in."""

import os
import shutil
from pathlib import Path

import pytest


def program_of(variable):
    """The program that the variable names: a wrong name is a mistake, and no reason to skip."""
    named = os.environ.get(variable)
    if not named:
        pytest.skip(f"opt-in: let {variable} name the program (CONTRIBUTING.md)")
    found = shutil.which(named)
    assert found, f"{variable}={named} is no program"
    return Path(found)
