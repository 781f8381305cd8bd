"""Processor time of `--help` and of a small stored comparison, over that of an earlier version.

    git worktree add /tmp/first 5dadf30
    python benchmarks/earlier.py /tmp/first [--runs N]

TREE is a checkout of the earlier version, run by the same Python. Each version first makes two runs of its own of the
200 items of the demo, as the formats of stored runs differ. Then both are started in turn, so that what else the
machine does meets both; medians of user and system time, in ms. It decides no exit code.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent / "bench"))
import canned

HERE: Final = Path(__file__).resolve().parent.parent
ENDS: Final = {0, 1, 3, 4}  # of these two commands: help, or a verdict


def started(tree: Path, folder: Path, *arguments: str) -> float:
    """Processor seconds of a command of the version in `tree`; ends the program where the command itself fails."""
    # An installed package has its bytecode; a checkout may be told to write none and would be compiled every time.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment = {**kept, "PYTHONPATH": str(tree), "EVALKIT_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "evalkit", *arguments]
    with (folder / "said").open("w+") as said:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)
        _pid, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in ENDS:
            said.seek(0)
            sys.exit(f"{tree}: evalkit {' '.join(arguments)} ended with {process.returncode}:\n{said.read()}")
    return usage.ru_utime + usage.ru_stime


def prepared(tree: Path, folder: Path, port: int) -> Path:
    """Two runs of the version in `tree`, stored in `folder`."""
    folder.mkdir()
    for name in ("reference", "candidate"):
        about = (
            f"name: {name}\nbase_url: http://127.0.0.1:{port}/v1\nmodel: {canned.MODEL}\nsuites: [demo]\nruns: runs\n"
        )
        (folder / f"{name}.yaml").write_text(about, encoding="utf-8")
        started(tree, folder, "run", f"{name}.yaml", "--quiet")
    return folder


def main() -> None:
    """Print one line a command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("tree", type=Path, help="a checkout of the earlier version")
    parser.add_argument("--runs", type=int, default=15, help="times that each command is started in each version")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, canned.serving() as port:
        trees = [(tree.resolve(), Path(temporary) / name) for tree, name in ((options.tree, "then"), (HERE, "now"))]
        for tree, folder in trees:
            prepared(tree, folder, port)
        print(f"{'ms of processor time':<24}{'then':>8}{'now':>8}{'ratio':>8}")
        for what, arguments in (
            ("--help", ["--help"]),
            ("compare, 200 items", ["compare", "runs/reference", "runs/candidate"]),
        ):
            for tree, folder in trees:
                started(tree, folder, *arguments)  # its bytecode is then there
            took = [[started(tree, folder, *arguments) for tree, folder in trees] for _ in range(options.runs)]
            then, now = (1000 * median(column) for column in zip(*took, strict=True))
            print(f"{what:<24}{then:>8.0f}{now:>8.0f}{now / then:>8.2f}", flush=True)


if __name__ == "__main__":
    main()
