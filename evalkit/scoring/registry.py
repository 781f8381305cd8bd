"""The names under which suites ask for scorers. A name is looked up here and imported when it is used, not before."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Final, cast

from evalkit.errors import SuiteError
from evalkit.model import Scorer

SCORERS: Final[Mapping[str, str]] = {
    "choice": "evalkit.scoring.choice:score",
    "option_logprobs": "evalkit.scoring.option_logprobs:score",
    "integer": "evalkit.scoring.integer:score",
    "expression": "evalkit.scoring.expression:score",
    "short": "evalkit.scoring.short:score",
    "theoremqa": "evalkit.scoring.theoremqa:score",
    "livebench": "evalkit.scoring.livebench.dispatch:score",
    "mmmu": "evalkit.scoring.multimodal.mmmu:score",
    "mmmu_pro": "evalkit.scoring.multimodal.mmmu_pro:score",
    "cmmmu": "evalkit.scoring.multimodal.cmmmu:score",
    "cii_bench": "evalkit.scoring.multimodal.cii_bench:score",
    "blink": "evalkit.scoring.multimodal.blink:score",
    "mathvision": "evalkit.scoring.multimodal.mathvision:score",
    "ocrbench": "evalkit.scoring.multimodal.ocrbench:score",
    "judged": "evalkit.scoring.judge:score",
}


def scorer(name: str) -> Scorer:
    """The scorer that a suite calls `name`: one of `SCORERS`, or "package.module:function" for one of your own.

    Raises:
        SuiteError: no such name (the sentence offers the nearest), module or function.
    """
    target = _target(name)
    function = getattr(_module(name, target), _function_name(target), None)
    if not callable(function):
        raise SuiteError(
            f"scorer {name!r}: the module {_module_name(target)} has no function {_function_name(target)!r}"
        )
    return cast(Scorer, function)


def version(name: str) -> str:
    """What goes into digests for the scorer `name`: where it is and its module's `VERSION`, "module:function@1".

    `VERSION` is raised with every change that may alter a verdict, also where the change is in a module that the
    scorer leans on: scores under different versions are not compared.

    Raises:
        SuiteError: as `scorer`, or the module has no `VERSION`.
    """
    target = _target(name)
    number = getattr(_module(name, target), "VERSION", None)
    if not isinstance(number, int | str):
        raise SuiteError(f"scorer {name!r}: add `VERSION = 1` to the module {_module_name(target)}")
    return f"{target}@{number}"


def _target(name: str) -> str:
    if name in SCORERS:
        return SCORERS[name]
    module, colon, function = name.partition(":")
    if colon and all(part.isidentifier() for part in (*module.split("."), function)):
        return name
    near = difflib.get_close_matches(name, SCORERS, n=3) or sorted(SCORERS)
    raise SuiteError(f"there is no scorer {name!r}: use {', '.join(near)}, or 'package.module:function' for your own")


def _module(name: str, target: str) -> ModuleType:
    try:
        return import_module(_module_name(target))
    except ImportError as error:
        raise SuiteError(f"scorer {name!r}: the module {_module_name(target)} cannot be imported ({error})") from error


def _module_name(target: str) -> str:
    return target.partition(":")[0]


def _function_name(target: str) -> str:
    return target.partition(":")[2]
