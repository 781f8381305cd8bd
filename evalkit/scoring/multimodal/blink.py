"""BLINK (Fu et al., ECCV 2024): 14 tasks of seeing, two to four options about one to four pictures.

Documents (`rows.blink`): "choices" (2 to 4 texts), "answer" (a letter), "sub_task". The official scorer asks a
language model to match prose to an option; here a reply that names none is NO_ANSWER, which the prompt's answer line
makes rare.
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
