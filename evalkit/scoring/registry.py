"""Scorers and preparers: found by the names that suites give them, identified for digests, and called.

evalkit's own scorers have short names. One of the user's is `module:function`: of a .py file that lies beside the
suite's, else of a module that Python can import. A name is looked up here and imported when it is used, not before.
Code of the user's may raise anything; `called` is the one place that catches it.
"""

import hashlib
import math
import reprlib
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import import_module, invalidate_caches
from numbers import Real
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeAlias, TypeVar, cast

from evalkit.errors import DataError, EvalkitError, SuiteError, did_you_mean
from evalkit.files import digest_file
from evalkit.model import Score, Scorer, Status
from evalkit.resources import toml_file

Preparer: TypeAlias = Callable[[Sequence[Mapping[str, Any]], Mapping[str, Any]], list[dict[str, Any]]]
"""From the rows of a split and the suite's options to documents with an `id` each."""

T = TypeVar("T")

SCORERS: Final[Mapping[str, str]] = toml_file("scoring/scorers.toml")


def scorer(name: str, suite_file: Path | None = None) -> Scorer:
    """The scorer that a suite calls `name`: one of `SCORERS`, or "module:function" for one of your own.

    Raises `SuiteError`: no such name (the sentence offers the nearest), module or function; or the module raised.
    """
    return cast(Scorer, _function(_target(name), f"scorer {name!r}", suite_file))


def preparer(name: str, suite_file: Path | None = None) -> Preparer:
    """The preparer that a suite calls `name`, "module:function".

    Raises `SuiteError`: no such module or function; or the module raised.
    """
    return cast(Preparer, _function(name, f"prepare {name!r}", suite_file))


def version(name: str, suite_file: Path | None = None) -> str:
    """What goes into digests for the scorer `name`, "module:function@1": where it is, and which version of it.

    The version is the digest of the code where that lies beside the suite's file. Else it is the module's `VERSION`,
    which is raised with every change that may alter a verdict, also where the change is in a module that the scorer
    leans on: scores under different versions are not compared.

    Raises `SuiteError`: as `scorer`, or an imported module has no `VERSION`.
    """
    target = _target(name)
    module = target.partition(":")[0]
    if (file := _beside(module, suite_file)) is not None:
        _module(module, f"scorer {name!r}", suite_file)
        return f"{target}@{digest_of_code(file)[:16]}"
    number = getattr(_module(module, f"scorer {name!r}", suite_file), "VERSION", None)
    if not isinstance(number, int | str):
        raise SuiteError(f"scorer {name!r}: add `VERSION = 1` to the module {module}")
    return f"{target}@{number}"


def _target(name: str) -> str:
    if name in SCORERS:
        return SCORERS[name]
    module, colon, function = name.partition(":")
    if colon and all(part.isidentifier() for part in (*module.split("."), function)):
        return name
    meant = did_you_mean(name, sorted(SCORERS))
    raise SuiteError(f"there is no scorer {name!r}{meant}; one of your own is 'module:function'")


def _function(target: str, what: str, suite_file: Path | None) -> Callable[..., Any]:
    module, _, name = target.partition(":")
    found = _module(module, what, suite_file)
    function = getattr(found, name, None)
    if function is None:
        own = [key for key, value in vars(found).items() if callable(value) and not key.startswith("_")]
        raise SuiteError(f"{what}: the module {module} has no function {name!r}{did_you_mean(name, own)}")
    if not callable(function):
        raise SuiteError(f"{what}: {name!r} of the module {module} is no function but {type(function).__name__}")
    return cast(Callable[..., Any], function)


def _module(name: str, what: str, suite_file: Path | None) -> ModuleType:
    file = _beside(name, suite_file)
    try:
        return called(import_module, name) if file is None else called(module_in, file, file=file)
    except CodeError as error:
        beside = "" if file or not suite_file else f"; {suite_file.parent} has no {name.replace('.', '/')}.py"
        raise SuiteError(f"{what}: the module {name} cannot be imported: {error}{beside}") from error


# Code that lies beside a suite's file: imported under a private name, so that nothing else finds it by accident

PRIVATE: Final = "_evalkit_beside_"
_FILES: Final[dict[Path, dict[Path, str]]] = {}  # by file: the digests of all that was imported with it


def _beside(module: str, suite_file: Path | None) -> Path | None:
    """The file of a module that lies beside a suite's."""
    if suite_file is None or module.startswith("evalkit."):
        return None
    file = suite_file.parent / f"{module.replace('.', '/')}.py"
    return file.resolve() if file.is_file() else None


def module_in(file: Path) -> ModuleType:
    """The module in a file; what it imports by `from . import helper` lies beside it. Read again where it changed.

    Raises `Exception`: whatever the module raises.
    """
    package = PRIVATE + hashlib.sha256(str(file).encode()).hexdigest()[:16]
    name = f"{package}.{file.stem}"
    if name in sys.modules and _FILES.get(file) == _digests(package):
        return sys.modules[name]
    for old in [key for key in sys.modules if key == package or key.startswith(f"{package}.")]:
        del sys.modules[old]
    invalidate_caches()
    home = sys.modules[package] = ModuleType(package)
    home.__path__ = [str(file.parent)]
    module = sys.modules[name] = ModuleType(name)
    module.__file__, module.__package__ = str(file), package
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        # Not by Python's own loader: it would leave compiled code beside the suite, and take it for a changed file's.
        exec(compile(file.read_bytes(), str(file), "exec"), module.__dict__)  # noqa: S102 - what the user's suite names
    except BaseException:
        del sys.modules[name]
        raise
    finally:  # what it imports from beside it leaves none either
        sys.dont_write_bytecode = written
    _FILES[file] = _digests(package)
    return module


def _digests(package: str) -> dict[Path, str]:
    """The files that were imported under a private name, with their digests now."""
    modules = [module for key, module in list(sys.modules.items()) if key.startswith(f"{package}.")]
    files = (Path(module.__file__) for module in modules if module.__file__)
    return {file: digest_file(file) if file.is_file() else "" for file in files}


def digest_of_code(file: Path) -> str:
    """SHA-256 of the code in a file that was imported, and of what it imported from beside it."""
    state = hashlib.sha256()
    for path, found in sorted(_FILES[file].items()):
        state.update(f"{path.relative_to(file.parent)} {found}\n".encode())
    return state.hexdigest()


# Calls

_SHOWN_CHARACTERS: Final = 240


class CodeError(EvalkitError):
    """A scorer or preparer raised; the sentence has the exception's type, words, file and line."""

    exit_code = 2


def called(function: Callable[..., T], *arguments: Any, file: Path | None = None) -> T:
    """What a scorer or preparer returns. `file` is where its code is, if not where the function says.

    Raises `CodeError`: whatever it raises, but for Ctrl-C.
    """
    try:
        return function(*arguments)
    except (Exception, SystemExit) as error:  # code of the user's may raise anything: it is said, and all else goes on
        own = str(file) if file else getattr(getattr(function, "__code__", None), "co_filename", None)
        raise CodeError(_told(error, own)) from error


def _told(error: BaseException, own: str | None) -> str:
    """An exception in one bounded line, with the deepest place in the file `own`, else the deepest of all."""
    words = str(error) if isinstance(error, EvalkitError) else traceback.format_exception_only(error)[-1].strip()
    shown = printable(words, _SHOWN_CHARACTERS)
    if isinstance(error, SyntaxError) and error.filename:
        return f"{shown} ({error.filename}:{error.lineno})"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    chosen = [frame for frame in frames if frame.filename == own] or frames[1:]
    return f"{shown} ({chosen[-1].filename}:{chosen[-1].lineno})" if chosen else shown


def printable(text: str, most: int) -> str:
    """A text in one line of at most so many characters; what cannot be printed is escaped."""
    line = " ".join(text[: 4 * most].split())
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
    return line if len(line) <= most else f"{line[: most - 3]}..."


def graded(function: Callable[..., Any], document: Mapping[str, Any], reply: Any, *, right_or_wrong: bool) -> Score:
    """The score of a reply; GRADE_ERROR with the reason where the scorer raises or gives anything but a sound `Score`.

    With `right_or_wrong`, a sound value is 1 or 0.
    """
    try:
        given = called(function, document, reply)
    except CodeError as error:
        return Score(None, Status.GRADE_ERROR, f"raised {error}")
    problem = next(_problems(given, right_or_wrong=right_or_wrong), None)
    if problem is not None:
        return Score(None, Status.GRADE_ERROR, problem)
    score = cast(Score, given)
    if type(score.value) is float and score.lenient is None and not score.metrics:
        return score  # as most are
    return replace(
        score,
        value=None if score.value is None else float(score.value),
        lenient=None if score.lenient is None else float(score.lenient),
        metrics={name: float(number) for name, number in score.metrics.items()},
    )


def _problems(score: object, *, right_or_wrong: bool) -> Iterator[str]:
    """What is wrong with what a scorer gave."""
    if not isinstance(score, Score):
        yield f"gave {_short(score)}: a scorer gives an evalkit.model.Score"
        return
    if not isinstance(score.status, Status):
        yield f"gave the status {_short(score.status)}: it must be an evalkit.model.Status"
        return
    if (score.value is None) == score.status.has_value:
        yield f"gave the value {_short(score.value)} with the status {score.status.value}: grade_error alone has none"
    for name, number in (("value", score.value), ("lenient", score.lenient)):
        if number is not None and not (_is_number(number) and 0 <= number <= 1):
            yield f"gave the {name} {_short(number)}: it must be a number from 0 to 1"
    if right_or_wrong and score.value not in {None, 0, 1}:
        yield f"gave the value {_short(score.value)}, where the suite says right_or_wrong: it must be 1 or 0"
    texts = (score.reason, *([] if score.answer is None else [score.answer]))
    if not isinstance(score.flags, tuple | list) or not all(isinstance(text, str) for text in (*texts, *score.flags)):
        yield "gave a reason, answer or flag that is no text"
    numbers = score.metrics.items() if isinstance(score.metrics, Mapping) else [(None, None)]
    if not all(isinstance(name, str) and _is_number(number) for name, number in numbers):
        yield "gave metrics that are no numbers by name"


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def _short(value: object) -> str:
    return printable(reprlib.repr(value), 80)  # bounded, also where an object of the user's cannot be shown


# What a scorer may demand of a document: an absent or empty truth is an error of the data, never a match


_NAMES = ("id", "ID", "item_id", "question_id", "Record ID", "index", "idx")


def required(doc: Mapping[str, Any], key: str) -> Any:
    """The value of `key` in `doc`. Raises `DataError`: it is absent, None, blank or an empty collection."""
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
    named = next((doc[key] for key in _NAMES if doc.get(key) not in (None, "")), None)
    if named is not None:
        return f"item {str(named)[:80]!r}"
    question = str(doc.get("question", doc.get("problem", "")))[:60]
    return f"the item that begins {question!r}" if question else "an item without an id"
