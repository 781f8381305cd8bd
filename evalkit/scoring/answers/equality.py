"""Whether two mathematical expressions have the same value, by math-verify: for a worker's child process only.

It may hang and it may eat memory. It is imported nowhere else, since the import itself takes a second, which must not
count against the time of the first comparison.
"""

from __future__ import annotations

import math_verify


def same_value(truth: str, answer: str) -> bool:
    """Whether math-verify finds `answer` (LaTeX or plain) equal to `truth`; False also where it cannot read either."""
    # The limit is the worker's: math-verify's own would turn "too slow" into "wrong".
    expected, given = (math_verify.parse(rf"\boxed{{{text}}}", parsing_timeout=None) for text in (truth, answer))
    return bool(math_verify.verify(expected, given, timeout_seconds=None))
