"""Tells a refusal from an answer that merely was not found. A label for the reports: both score 0."""

from __future__ import annotations

import re
from typing import Final

_BEGINNING: Final = 600  # characters; a refusal says so at once
_REFUSAL: Final = re.compile(
    r"\bI(?:'m|’m| am)? (?:cannot|can't|can’t|can not|won't|won’t|unable to|not able to|must decline to)"
    r" (?:\w+ly )?(?:help|assist|answer|comply|provide|fulfil|engage|discuss|respond|participate|support|do that)"
    r"|\bI must (?:respectfully )?(?:decline|refuse)\b"
    r"|(?:无法|不能|不便|拒绝)(?:回答|提供|协助|帮助|讨论)",
    re.IGNORECASE,
)


def is_refusal(text: str) -> bool:
    """Whether `text`, in which no answer was found, begins by declining to answer."""
    return _REFUSAL.search(text, 0, _BEGINNING) is not None
