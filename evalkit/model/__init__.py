"""The values that flow through evalkit: what is asked, what came back, how it was scored, what a comparison found.

All are frozen, slotted dataclasses of the standard library; nothing here imports the rest of evalkit.
Scores, means, differences, margins and intervals are fractions (a difference lies in [-1, 1]);
a name that ends in `_pt` is in percentage points; differences are candidate minus reference.
"""

from evalkit.model.comparison import (
    COMPARISON_SCHEMA_VERSION,
    BehaviourRow,
    BreakdownRow,
    Comparison,
    Difference,
    Flip,
    Flips,
    Interval,
    Macro,
    NeededRepeats,
    Probe,
    RunIdentity,
    SideSummary,
    SuiteResult,
    Verdict,
)
from evalkit.model.sample import (
    Failure,
    FailureKind,
    FinalText,
    ImageRef,
    Item,
    Message,
    Prompt,
    Reply,
    Request,
    Score,
    Scorer,
    Status,
    Usage,
)

__all__ = [
    "COMPARISON_SCHEMA_VERSION",
    "BehaviourRow",
    "BreakdownRow",
    "Comparison",
    "Difference",
    "Failure",
    "FailureKind",
    "FinalText",
    "Flip",
    "Flips",
    "ImageRef",
    "Interval",
    "Item",
    "Macro",
    "Message",
    "NeededRepeats",
    "Probe",
    "Prompt",
    "Reply",
    "Request",
    "RunIdentity",
    "Score",
    "Scorer",
    "SideSummary",
    "Status",
    "SuiteResult",
    "Usage",
    "Verdict",
]
