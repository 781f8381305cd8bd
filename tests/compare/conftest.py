"""Makes the helpers of this folder importable as `compare_factory` by its tests."""

import importlib.util
import sys
from pathlib import Path

_spec = importlib.util.spec_from_file_location("compare_factory", Path(__file__).with_name("factory.py"))
_module = importlib.util.module_from_spec(_spec)
sys.modules["compare_factory"] = _module
_spec.loader.exec_module(_module)
