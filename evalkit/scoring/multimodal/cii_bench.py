"""CII-Bench (Zhang et al. 2024): what a Chinese picture implies, six options, asked and mostly answered in Chinese.

Documents (`rows.cii_bench`): "choices" (6 texts), "answer" (a letter). The shared rules read Chinese markers (答案,
故选), statements (选项F符合题意, B选项正确) and letters that stand between Chinese characters without spaces.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from evalkit.model import FinalText, Score
from evalkit.scoring.multimodal import letters

VERSION: Final = 1


def score(doc: Mapping[str, Any], final: FinalText) -> Score:
    """Score a reply: 1 for the right option, else 0.

    Raises:
        DataError: the document lacks its options or its answer.
    """
    return letters.score(doc, final, frozenset(letters.truth_of(doc)))
