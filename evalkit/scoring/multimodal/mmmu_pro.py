"""MMMU-Pro (Yue et al. 2024): MMMU's questions with up to twelve options, as text and pictures or as one screenshot.

Documents (`rows.mmmu_pro`): "choices" (2 to 26 texts), "answer" (a letter). Scored as MMMU's choices, with letters up
to the item's own last option; the letter I is an option like any other (133 items have it as their answer).
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
