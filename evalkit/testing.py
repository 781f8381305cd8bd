"""For tests of a port: `assert_equivalent` fails with the table and the reasons where a candidate is not equivalent."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from evalkit.api import Comparison, compare, judge
from evalkit.model import Verdict
from evalkit.options import CompareOptions
from evalkit.run import SILENT, Observer

if TYPE_CHECKING:
    from evalkit.api import Scores


def assert_equivalent(
    reference: Scores, candidate: Scores, options: CompareOptions | None = None, observer: Observer = SILENT
) -> Comparison:
    """Compares two sides, asking what is missing where they are endpoints' files, and gives the comparison.

    Both are what `evalkit.compare` takes (endpoints' YAML files, stored runs, folders of lm-eval, score tables) or, as
    `evalkit.judge` takes them, frames. An INCONCLUSIVE comparison passes where `options.on_inconclusive` says so.

    Raises `AssertionError`: where the comparison is not EQUIVALENT; its text is the table, the verdict and the reasons;
    `EvalkitError`: as `evalkit.compare`.
    """
    __tracebackhide__ = True  # pytest shows the caller's line
    chosen = options or CompareOptions()
    if isinstance(reference, (str, os.PathLike)) and isinstance(candidate, (str, os.PathLike)):
        made = compare(reference, candidate, chosen, observer)
    else:
        made = judge(reference, candidate, chosen)
    if made.exit_code:
        where = f"\nstored in {made.file}" if made.file is not None else ""
        raise AssertionError(f"the candidate is {made.verdict.value}, not {Verdict.EQUIVALENT.value}\n\n{made}{where}")
    return made
