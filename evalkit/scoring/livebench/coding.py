"""Coding: the program in the answer passes every public and private test, run one by one in the sandbox.

The expected results never enter the sandbox: a program can only hand out its own, and they are compared here.
"""

import base64
import binascii
import io
import json
import pickle
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NoReturn

from evalkit.errors import DataError
from evalkit.scoring.answers import sandbox
from evalkit.scoring.answers.worker import GradeTimeout
from evalkit.scoring.livebench.extract import Grade
from evalkit.scoring.registry import name_of

# A pickle can run code when it is loaded, and a data set is others' text: the unpickler here refuses every global, so
# only plain values come out, and of those only the one text that is expected is used.


LARGEST_UNPACKED: Final = 512 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Case:
    """One test: what the program gets, and what it has to print or return."""

    given: str
    expected: str


class NoGlobals(pickle.Unpickler):
    """An unpickler for plain values: it looks up no class and no function, so a pickle has nothing to call."""

    def find_class(self, module: str, name: str) -> NoReturn:
        """Refuse: `module.name` is what a pickle would call."""
        raise pickle.UnpicklingError(f"the pickle asks for {module}.{name}")


def cases_of(doc: Mapping[str, Any]) -> tuple[Case, ...]:
    """The public tests and then the private ones, never none.

    Raises `DataError`: there are none, or they cannot be read.
    """
    cases = (*_read(doc, "public_test_cases"), *_read(doc, "private_test_cases"))
    if not cases:
        raise DataError(f"{name_of(doc)} has no tests: a program that is tested by nothing would pass.")
    return cases


def _read(doc: Mapping[str, Any], column: str) -> list[Case]:
    raw = doc.get(column)
    if raw is None or raw == "":
        return []
    try:
        tests = _tests(raw)
        return [Case(given=test["input"], expected=test["output"]) for test in tests]
    except (ValueError, TypeError, KeyError, EOFError, IndexError, zlib.error, pickle.UnpicklingError) as error:
        raise DataError(f"{name_of(doc)}: the column {column} cannot be read as tests ({error}).") from error


def _tests(raw: Any) -> Any:
    if not isinstance(raw, str):
        return raw
    try:
        return json.loads(raw)
    except ValueError:
        return json.loads(unpack(raw))


def unpack(packed: str) -> str:
    """The text inside base64 + zlib + pickle.

    Raises `ValueError`: it is not base64, or unpacks to more than 512 MiB; `zlib.error`: it is not compressed with
    zlib; `pickle.UnpicklingError`: it is no pickle, would call something, or holds something else than one text.
    """
    try:
        compressed = base64.b64decode(packed, validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from None
    inflate = zlib.decompressobj()
    pickled = inflate.decompress(compressed, LARGEST_UNPACKED)
    if inflate.unconsumed_tail:
        raise ValueError(f"unpacks to more than {LARGEST_UNPACKED} bytes")
    text = NoGlobals(io.BytesIO(pickled)).load()
    if not isinstance(text, str):
        raise pickle.UnpicklingError(f"holds a {type(text).__name__}, not a text")
    return text


SECONDS_PER_TEST: Final = 6.0
SECONDS_PER_QUESTION: Final = 600.0  # by the clock. A question that is still being tested then has no verdict

_FENCE: Final = "```"
_LIMITS: Final = sandbox.Limits(seconds=SECONDS_PER_TEST)


def grade(doc: Mapping[str, Any], text: str) -> Grade:
    """1 if all tests pass, else 0; testing stops at the first that fails, and the reason is how it failed.

    The caller has made sure that programs may be run (`not_asked` of the scorer).

    Raises `DataError`: the question has no tests, or they cannot be read; `GradeTimeout`: the tests together take too
    long; `sandbox.SandboxError`: the sandbox did not come up.
    """
    cases = cases_of(doc)
    code, fenced = extract_code(text)
    program = complete(code, doc.get("partial_solution") or "")
    if not code.strip():
        return Grade(value=0.0, anchored=fenced)
    deadline = time.monotonic() + SECONDS_PER_QUESTION
    passed, failure = 0, ""
    while passed < len(cases) and not failure:
        if time.monotonic() > deadline:
            raise GradeTimeout(f"the tests took longer than {SECONDS_PER_QUESTION:g} s; test {passed + 1} was next")
        failure = _failure(program, cases[passed], doc.get("func_name"))
        passed += not failure
    return Grade(
        value=float(not failure),
        answer=f"{passed} of {len(cases)} tests",
        anchored=fenced,
        reason=failure,
        metrics={"tests_passed": passed / len(cases)},
    )


def extract_code(text: str) -> tuple[str, bool]:
    """The lines between the last two fence lines, else the whole text; and whether there were fences."""
    lines = text.split("\n")
    fences = [index for index, line in enumerate(lines) if _FENCE in line]
    if len(fences) < 2:
        return text.replace("\n" + _FENCE, "").rstrip(), False
    return "\n".join(lines[fences[-2] + 1 : fences[-1]]), True


def complete(code: str, partial: str) -> str:
    """The whole program: a completion is put behind the partial solution unless it already begins with it."""
    return code if not partial or code.startswith(partial) else f"{partial}\n{code}"


def _failure(program: str, case: Case, function: str | None) -> str:
    """How the program fails the test, "" where it passes."""
    call = json.dumps({"function": function}).encode()
    files = {"main.py": _harness(), "solution.py": program.encode(errors="replace"), "call.json": call}
    outcome = sandbox.run(files, case.given.encode(), _LIMITS)
    if outcome.ending is not sandbox.Ending.EXITED:
        return outcome.ending.value
    if outcome.exit_code != 0:
        return "runtime_error"
    printed = outcome.stdout.decode(errors="replace")
    same = same_value(printed, case.expected) if function else same_output(printed, case.expected)
    return "" if same else "wrong"


@lru_cache(maxsize=1)
def _harness() -> bytes:
    return Path(__file__).with_name("harness.py").read_bytes()


def same_value(returned: str, expected: str) -> bool:
    """True where two JSON texts hold the same value; tuples have become lists on the way."""
    try:
        return bool(json.loads(returned) == json.loads(expected))
    except (ValueError, RecursionError):
        return False


def same_output(printed: str, expected: str) -> bool:
    """True where both have as many lines, each with the same text or the same numbers, spaces at the ends aside."""
    ours, theirs = printed.strip().split("\n"), expected.strip().split("\n")
    return len(ours) == len(theirs) and all(map(_same_line, ours, theirs))


def _same_line(one: str, other: str) -> bool:
    if one.strip() == other.strip():
        return True
    numbers = _decimals(one)
    return numbers is not None and numbers == _decimals(other)


def _decimals(line: str) -> list[Decimal] | None:
    try:
        numbers = [Decimal(token) for token in line.split()]
    except InvalidOperation:
        return None
    return numbers if all(number.is_finite() for number in numbers) else None
