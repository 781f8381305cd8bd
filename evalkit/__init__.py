"""evalkit shows whether a ported model is still the same model: suites on two endpoints, paired and judged.

The calls are those of `evalkit.api`; they are imported when they are first used, so that `import evalkit` is light.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from evalkit.resources import __version__

if TYPE_CHECKING:
    from evalkit.api import (
        Comparison,
        Fidelity,
        Run,
        aa,
        bisect,
        compare,
        doctor,
        judge,
        judge_tables,
        load_comparison,
        load_run,
        plan,
        probe,
        run,
        score,
    )
    from evalkit.errors import (
        ConfigError,
        DataError,
        EndpointError,
        EvalkitError,
        LaunchError,
        RunError,
        StorageError,
        SuiteError,
        UsageError,
    )
    from evalkit.examine.bisect import Bisection
    from evalkit.examine.doctor import Diagnosis
    from evalkit.model import Flip, Interval, SuiteResult, Verdict
    from evalkit.options import (
        BisectOptions,
        CompareOptions,
        JudgeOptions,
        PlanOptions,
        ProbeOptions,
        ReportOptions,
        RunOptions,
        TableOptions,
    )
    from evalkit.publish.tables import JudgedTable
    from evalkit.run import Observer
    from evalkit.run.forecast import Forecast

__all__ = [
    "BisectOptions",
    "Bisection",
    "CompareOptions",
    "Comparison",
    "ConfigError",
    "DataError",
    "Diagnosis",
    "EndpointError",
    "EvalkitError",
    "Fidelity",
    "Flip",
    "Forecast",
    "Interval",
    "JudgeOptions",
    "JudgedTable",
    "LaunchError",
    "Observer",
    "PlanOptions",
    "ProbeOptions",
    "ReportOptions",
    "Run",
    "RunError",
    "RunOptions",
    "StorageError",
    "SuiteError",
    "SuiteResult",
    "TableOptions",
    "UsageError",
    "Verdict",
    "__version__",
    "aa",
    "bisect",
    "compare",
    "doctor",
    "judge",
    "judge_tables",
    "load_comparison",
    "load_run",
    "plan",
    "probe",
    "run",
    "score",
]


_OF_CALLS = ("examine.doctor", "examine.bisect", "run.forecast", "publish.tables")
"""What some calls give stands in rooms that load much: looked through last."""


class _Package(ModuleType):
    """This package: what `__all__` names is looked up when it is used first.

    `run` and `compare` are rooms too, which Python would put in the place of the calls when it imports them.
    """

    def __getattr__(self, name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module 'evalkit' has no attribute {name!r}")
        homes = ("api", "errors", "model", "options", "run", *_OF_CALLS)
        modules = (import_module(f"evalkit.{home}") for home in homes)
        found = next(getattr(module, name) for module in modules if hasattr(module, name))
        super().__setattr__(name, found)
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


sys.modules[__name__].__class__ = _Package
