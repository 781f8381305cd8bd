"""What the house looks like: size and shape of the code, what one comparison imports, and the rooms of four walks.

    python benchmarks/house.py [--static]

The first table has the columns by which the code was compared with other projects: lines count blanks and comments, a
function's length is that of its body's source without decorators, `self` and `cls` are no parameters, a function is
typed where it says what it returns. Statements are those of the syntax tree, docstrings apart. `--static` stops there.

Then a comparison of two endpoints that answer every question alike is made twice: once in a process of its own, to
count the modules of evalkit that it imports, and once under a profile hook that follows four values from call to call:
a room is a file in which some call is handed the value, alone or within what it is handed.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import FrameType

import grimp

sys.path.append(str(Path(__file__).with_name("bench")))
import canned

ROOT = Path(__file__).resolve().parent.parent
ELSEWHERE = ("benchmarks", "docs", "examples")
MARK = "The answer follows from what is given"  # stands in every reply, and in nothing else
MARGIN_PT = 7.3125  # a margin that nothing else is equal to
DEPTH = 2  # how far into what a call is handed a value is looked for
MOST = 40  # members of a collection that are looked at
LONGEST = 100_000  # characters of a text that is looked into

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Source:
    """One Python file: its number of lines, blanks and comments among them, and the nodes of its syntax tree."""

    lines: int
    nodes: list[ast.AST]


def sources(*folders: str) -> list[Source]:
    """The Python files below these folders of the checkout."""
    found = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py") if "runs" not in path.parts)
    texts = [path.read_text(encoding="utf-8") for path in found]
    return [Source(text.count("\n"), list(ast.walk(ast.parse(text)))) for text in texts]


def shape(package: list[Source]) -> dict[str, str]:
    """The columns of the table."""
    sizes = sorted(one.lines for one in package)
    nodes = [node for one in package for node in one.nodes]
    functions = [node for node in nodes if isinstance(node, Function)]
    lengths = [(function.end_lineno or 0) - function.lineno + 1 for function in functions]
    documented = [node for node in nodes if isinstance(node, ast.Module | ast.ClassDef | Function)]
    statements = sum(isinstance(node, ast.stmt) for node in nodes)
    statements -= sum(ast.get_docstring(one) is not None for one in documented)
    kloc = sum(sizes) / 1000
    return {
        "files": str(len(sizes)),
        "kloc": f"{kloc:.1f}",
        "median file": f"{statistics.median(sizes):.0f}",
        "p90 file": str(sizes[int(0.9 * len(sizes))]),
        "largest file": str(sizes[-1]),
        "functions": str(len(functions)),
        "median fn": f"{statistics.median(lengths):.0f}",
        "longest fn": str(max(lengths)),
        "most parameters": str(max(map(parameters, functions))),
        "return-typed": f"{sum(one.returns is not None for one in functions) / len(functions):.0%}",
        "except Exception /kloc": f"{sum(map(catches_all, nodes)) / kloc:.2f}",
        "print /kloc": f"{sum(map(prints, nodes)) / kloc:.2f}",
        "lines": f"{sum(sizes):,}",
        "statements": f"{statements:,}",
    }


def parameters(function: Function) -> int:
    """How many parameters a caller gives."""
    named = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return len([one for one in named if one.arg not in {"self", "cls"}])


def catches_all(node: ast.AST) -> bool:
    """A handler that catches everything."""
    broad = (None, "Exception", "BaseException")
    return isinstance(node, ast.ExceptHandler) and (node.type and getattr(node.type, "id", "")) in broad


def prints(node: ast.AST) -> bool:
    """A call of `print`."""
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"


# ---------------------------------------------------------------- circles


def circles() -> set[str]:
    """Modules that import each other in a loop, imports within functions and for types among them."""
    graph = grimp.build_graph("evalkit", cache_dir=None)
    left = set(graph.modules)
    while gone := {name for name in left if not graph.find_modules_directly_imported_by(name) & left}:
        left -= gone
    while gone := {name for name in left if not graph.find_modules_that_directly_import(name) & left}:
        left -= gone
    return left


# ---------------------------------------------------------------- a comparison to look at


def pair(folder: Path, port: int) -> list[str]:
    """The arguments of a comparison of two endpoints at a port; its files are written into the folder."""
    files = [folder / "reference.yaml", folder / "candidate.yaml"]
    for file in files:
        file.write_text(
            f"name: {file.stem}\nbase_url: http://localhost:{port}/v1\nmodel: {canned.MODEL}\nruns: {folder}\n"
            f"suites: [{{name: demo, margin_pt: {MARGIN_PT}}}]\nsampling: {{profile: greedy, seed: 0}}\n"
        )
    return ["compare", *map(str, files), "--limit", "4", "--no-doctor", "--no-probe"]


IMPORTED = """
import atexit, sys
def told():
    print("modules", sum(name.split(".")[0] == "evalkit" for name in sys.modules), file=sys.stderr)
atexit.register(told)
from evalkit.cli import main
sys.argv = ["evalkit", *sys.argv[1:]]
main()
"""


def modules_imported(arguments: list[str]) -> int:
    """How many modules of evalkit one comparison imports."""
    ran = subprocess.run(
        [sys.executable, "-c", IMPORTED, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    told = [line for line in ran.stderr.splitlines() if line.startswith("modules ")]
    if not told:
        raise SystemExit(f"the comparison failed: {ran.stderr}")
    return int(told[-1].split()[1])


# ---------------------------------------------------------------- walks


class Walk:
    """Follows a value: `rooms` are the files in which some call was handed it."""

    def __init__(self, *wanted: object) -> None:
        self.wanted = wanted
        self.rooms: set[str] = set()

    def holds(self, value: object, depth: int = DEPTH) -> bool:
        """Whether the value is what is wanted, or has it within."""
        if isinstance(value, str | bytes):
            text = value if isinstance(value, str) else value.decode(errors="replace")
            return len(text) <= LONGEST and any(isinstance(one, str) and one in text for one in self.wanted)
        if isinstance(value, int | float):
            return any(isinstance(one, float) and value == one for one in self.wanted)
        return depth > 0 and any(self.holds(one, depth - 1) for one in members(value))


def members(value: object) -> list[object]:
    """What lies directly within a value, as far as it is looked at."""
    if isinstance(value, Mapping):
        return list(value.values())[:MOST]
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)[:MOST]
    if is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name, None) for field in fields(value)]
    if hasattr(type(value), "model_fields"):
        return [getattr(value, name, None) for name in type(value).model_fields]
    return []


def walked(arguments: list[str], walks: Mapping[str, Walk]) -> None:
    """Makes the comparison in this process, and follows the walks through its calls."""
    package = str(ROOT / "evalkit") + os.sep
    rooms: dict[str, str | None] = {}

    def hook(frame: FrameType, event: str, _argument: object) -> None:
        if event != "call":
            return
        code = frame.f_code
        if code.co_filename not in rooms:
            inside = code.co_filename.startswith(package)
            rooms[code.co_filename] = code.co_filename.removeprefix(package) if inside else None
        room = rooms[code.co_filename]
        if room is None or not (open_walks := [walk for walk in walks.values() if room not in walk.rooms]):
            return
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        given = [frame.f_locals[name] for name in names if name in frame.f_locals]
        for walk in open_walks:
            if any(map(walk.holds, given)):
                walk.rooms.add(room)

    from evalkit.cli import main as command_line

    sys.argv = ["evalkit", *arguments]
    sys.setprofile(hook)
    try:
        command_line()
    except SystemExit:
        pass
    finally:
        sys.setprofile(None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--static", action="store_true", help="only what can be counted without running anything")
    given = parser.parse_args()
    package = sources("evalkit")
    for name, value in shape(package).items():
        print(f"{name:<24}{value:>10}")
    outside = sources(*ELSEWHERE)
    print(f"{'all Python but tests':<24}{sum(one.lines for one in (*package, *outside)):>10,}")
    print(f"{'in circles':<24}{len(circles()):>10}")
    if given.static:
        return
    with canned.serving() as port, tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        print(f"{'modules of a compare':<24}{modules_imported(pair(Path(one), port)):>10}", flush=True)
        rows = (ROOT / "suites" / "demo" / "demo.jsonl").read_text(encoding="utf-8").splitlines()
        asked = [row["prompt"] for row in map(json.loads, rows) if row["split"] == "test" and len(row["prompt"]) > 30]
        walks = {
            "item to score": Walk(*asked),
            "reply body to sample": Walk(MARK),
            "margin to exit code": Walk(MARGIN_PT, MARGIN_PT / 100),
            "base_url to socket": Walk(f"localhost:{port}"),
        }
        walked(pair(Path(other), port), walks)
    for name, walk in walks.items():
        print(f"{name:<24}{len(walk.rooms):>10}  {' '.join(sorted(walk.rooms))}")


if __name__ == "__main__":
    main()
