"""The names under which suites ask for scorers. A name is looked up here and imported when it is used, not before."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import Any, Final, cast

from evalkit.errors import DataError, SuiteError, did_you_mean
from evalkit.model import Scorer

SCORERS: Final[Mapping[str, str]] = {
    "choice": "evalkit.scoring.answers.choice:score",
    "option_logprobs": "evalkit.scoring.multiple_choice:score_logprobs",
    "integer": "evalkit.scoring.aime:score",
    "expression": "evalkit.scoring.answers.expression:score",
    "short": "evalkit.scoring.short:score",
    "theoremqa": "evalkit.scoring.theoremqa:score",
    "livebench": "evalkit.scoring.livebench.graders:score",
    "mmmu": "evalkit.scoring.multimodal.mmmu:score",
    "mmmu_pro": "evalkit.scoring.multimodal.mmmu_pro:score",
    "cmmmu": "evalkit.scoring.multimodal.cmmmu:score",
    "cii_bench": "evalkit.scoring.multimodal.cii_bench:score",
    "blink": "evalkit.scoring.multimodal.blink:score",
    "mathvision": "evalkit.scoring.multimodal.mathvision:score",
    "ocrbench": "evalkit.scoring.multimodal.ocrbench:score",
    "judged": "evalkit.scoring.answers.judge:score",
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
    meant = did_you_mean(name, sorted(SCORERS))
    raise SuiteError(f"there is no scorer {name!r}{meant}; one of your own is 'package.module:function'")


def _module(name: str, target: str) -> ModuleType:
    try:
        return import_module(_module_name(target))
    except ImportError as error:
        raise SuiteError(f"scorer {name!r}: the module {_module_name(target)} cannot be imported ({error})") from error


def _module_name(target: str) -> str:
    return target.partition(":")[0]


def _function_name(target: str) -> str:
    return target.partition(":")[2]


# ----------------------------------------------------------------
# What a scorer may demand of a document: an absent or empty truth is an error of the data, never a match


_NAMES = ("id", "ID", "item_id", "question_id", "Record ID", "index", "idx")


def required(doc: Mapping[str, Any], key: str) -> Any:
    """The value of `key` in `doc`.

    Raises:
        DataError: it is absent, None, blank or an empty collection.
    """
    value = doc.get(key)
    if (
        value is None
        or (isinstance(value, str) and not value.strip())
        or (hasattr(value, "__len__") and not len(value))
    ):
        raise DataError(f"{name_of(doc)} has no {key!r}: check the data set, for an empty truth would match anything")
    return value


def name_of(doc: Mapping[str, Any]) -> str:
    """How an error message names the document: its id where it has one, else the start of its question."""
    for key in _NAMES:
        if doc.get(key) not in (None, ""):
            return f"item {str(doc[key])[:80]!r}"
    question = str(doc.get("question", doc.get("problem", "")))[:60]
    return f"the item that begins {question!r}" if question else "an item without an id"
