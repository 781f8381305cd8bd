"""The scripts of the validation note, which lie beside its data and are no package."""

import importlib.util
from pathlib import Path

VALIDATION = Path(__file__).resolve().parents[2] / "docs" / "validation"


def load(name):
    """The script of that name as a module."""
    spec = importlib.util.spec_from_file_location(name, VALIDATION / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
