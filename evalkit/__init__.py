"""evalkit shows whether a ported model is still the same model: suites on two endpoints, paired and judged.

The calls are those of `evalkit.api`; they are imported when they are first used, so that `import evalkit` is light.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evalkit.api import Comparison as Comparison
    from evalkit.api import Contract as Contract
    from evalkit.api import Fidelity as Fidelity
    from evalkit.api import Run as Run
    from evalkit.api import aa as aa
    from evalkit.api import bisect as bisect
    from evalkit.api import compare as compare
    from evalkit.api import contract as contract
    from evalkit.api import doctor as doctor
    from evalkit.api import judge as judge
    from evalkit.api import judge_tables as judge_tables
    from evalkit.api import load_comparison as load_comparison
    from evalkit.api import load_run as load_run
    from evalkit.api import plan as plan
    from evalkit.api import probe as probe
    from evalkit.api import run as run
    from evalkit.api import score as score
    from evalkit.errors import ConfigError as ConfigError
    from evalkit.errors import DataError as DataError
    from evalkit.errors import EndpointError as EndpointError
    from evalkit.errors import EvalkitError as EvalkitError
    from evalkit.errors import LaunchError as LaunchError
    from evalkit.errors import RunError as RunError
    from evalkit.errors import StorageError as StorageError
    from evalkit.errors import SuiteError as SuiteError
    from evalkit.errors import UsageError as UsageError
    from evalkit.examine.bisect import Bisection as Bisection
    from evalkit.examine.doctor import Diagnosis as Diagnosis
    from evalkit.examine.forecast import Forecast as Forecast
    from evalkit.examine.stored import StoredRun as StoredRun
    from evalkit.examine.stored import records as records
    from evalkit.examine.stored import stored_runs as stored_runs
    from evalkit.model import Flip as Flip
    from evalkit.model import Interval as Interval
    from evalkit.model import SuiteResult as SuiteResult
    from evalkit.model import Verdict as Verdict
    from evalkit.options import BisectOptions as BisectOptions
    from evalkit.options import CompareOptions as CompareOptions
    from evalkit.options import ContractOptions as ContractOptions
    from evalkit.options import JudgeOptions as JudgeOptions
    from evalkit.options import PlanOptions as PlanOptions
    from evalkit.options import ProbeOptions as ProbeOptions
    from evalkit.options import ReportOptions as ReportOptions
    from evalkit.options import RunOptions as RunOptions
    from evalkit.options import TableOptions as TableOptions
    from evalkit.publish.tables import JudgedTable as JudgedTable
    from evalkit.resources import __version__ as __version__
    from evalkit.run import Observer as Observer

_HOMES = (
    ("api", "Comparison Contract Fidelity Run"),
    ("api", "aa bisect compare contract doctor judge judge_tables load_comparison load_run plan probe run score"),
    ("errors", "ConfigError DataError EndpointError EvalkitError LaunchError"),
    ("errors", "RunError StorageError SuiteError UsageError"),
    ("examine.bisect", "Bisection"),
    ("examine.doctor", "Diagnosis"),
    ("model", "Flip Interval SuiteResult Verdict"),
    ("options", "BisectOptions CompareOptions ContractOptions JudgeOptions PlanOptions"),
    ("options", "ProbeOptions ReportOptions RunOptions TableOptions"),
    ("publish.tables", "JudgedTable"),
    ("resources", "__version__"),
    ("run", "Observer"),
    ("examine.forecast", "Forecast"),
    ("examine.stored", "StoredRun records stored_runs"),
)
_HOME_OF = {name: home for home, names in _HOMES for name in names.split()}
__all__ = sorted(_HOME_OF)  # noqa: PLE0605 - checkers read the imports above


class _Package(ModuleType):
    """This package: what `__all__` names is looked up when it is used first.

    `run` and `compare` are rooms too, which Python would put in the place of the calls when it imports them.
    """

    def __getattr__(self, name: str) -> Any:
        if name not in __all__:
            raise AttributeError(f"module 'evalkit' has no attribute {name!r}")
        found = getattr(import_module(f"evalkit.{_HOME_OF[name]}"), name)
        super().__setattr__(name, found)
        return found

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in __all__ and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


sys.modules[__name__].__class__ = _Package
