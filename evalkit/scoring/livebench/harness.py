"""Runs a solution for one test, inside the sandbox, where it lies as /code/main.py; never imported by evalkit.

/code/solution.py is the program, /code/call.json names the function to call, null for a program that reads the input
and prints. A function gets one JSON value per line of the input; what it returns is printed as JSON, and whatever the
program prints itself is dropped. As in the contests, common names are there without an import.
"""

import importlib
import json
import os
import sys
from typing import Any

# In this order: later modules win, and the builtins come back last (math and operator have a pow of their own).
_STARRED = (
    *("string", "re", "datetime", "collections", "heapq", "bisect", "copy", "math", "random", "statistics"),
    *("itertools", "functools", "operator", "io", "sys", "json", "typing", "builtins"),
)
_HIDDEN = {"datetime", "copy", "bisect", "builtins"}  # not there under their own names
_RECURSION = 50_000


def _names() -> dict[str, Any]:
    names: dict[str, Any] = {}
    for module in map(importlib.import_module, _STARRED):
        public = getattr(module, "__all__", None) or [name for name in vars(module) if not name.startswith("_")]
        names.update((name, getattr(module, name)) for name in public)
    named = {*_STARRED, "time", "fractions"} - _HIDDEN
    names.update((name, importlib.import_module(name)) for name in named)
    return names


def _plain(value: object) -> object:
    """For json: numpy's numbers and arrays as Python's own."""
    convert = getattr(value, "tolist", None)
    if convert is None:
        raise TypeError(type(value).__name__)
    return convert()


def main() -> None:
    """Execute the solution, and call its function where one is named."""
    with open("/code/call.json", encoding="utf-8") as file:  # noqa: PTH123 - starts faster than pathlib
        function = json.load(file)["function"]
    with open("/code/solution.py", encoding="utf-8") as file:  # noqa: PTH123
        source = file.read()
    sys.setrecursionlimit(_RECURSION)
    names: dict[str, Any] = _names() | {"__name__": "__main__" if function is None else "solution"}
    program = compile(source, "/code/solution.py", "exec")
    if function is None:
        exec(program, names)  # noqa: S102 - what the sandbox is for
        return
    results = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    arguments = [json.loads(line) for line in sys.stdin.read().split("\n") if line.strip()]
    exec(program, names)  # noqa: S102
    owner = names.get("Solution")
    target = names[function] if owner is None else getattr(owner(), function)
    returned = json.dumps(target(*arguments), default=_plain)
    with os.fdopen(results, "w", encoding="utf-8") as file:
        file.write(returned)


if __name__ == "__main__":
    main()
