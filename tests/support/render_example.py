"""Comparisons made by hand: every verdict, Chinese text, and strings that try to break out of each format."""

from __future__ import annotations

from dataclasses import replace

from evalkit.model import (
    BehaviourRow,
    BreakdownRow,
    Comparison,
    Difference,
    Flip,
    Flips,
    Interval,
    Macro,
    NeededRepeats,
    Reason,
    RunIdentity,
    SideSummary,
    SuiteResult,
    Verdict,
    said,
)

HOSTILE = (
    "</script><img src=x onerror=alert(1)>|`*_[a](javascript:b)\\input{/etc/passwd}%$&#{}~^\"'::error::\r\n=1+1\x07"
)
NEEDED = Reason("needed.repeats", {"repeats": 51, "samples": 3060, "tokens": 24_400_000, "power": 0.8})
HOSTILE_LABEL = '<b>x</b>|=HYPERLINK("a") \\end{tabular} & 100%'


def identity(name: str, **changes) -> RunIdentity:
    values = {
        "name": name,
        "run_id": f"{name}-20260704-9f31c2",
        "model": "Acme-7B-Instruct",
        "path": f"runs/{name}",
        "started": "2026-07-04T08:00:00Z",
        "versions": {"evalkit": "0.1.0", "vllm": "0.28.0"},
        "endpoint": {"base_url": "http://gpu-7:8000/v1", "chip": "H100"},
        "sampling": {"temperature": 0.6, "top_p": 0.95, "max_tokens": 32768},
    }
    return RunIdentity(**{**values, **changes})


def side(mean: float | None, planned: int, k: float, counts: dict[str, int] | None = None, **more) -> SideSummary:
    counts = counts or {"scored": planned}
    valued = sum(number for status, number in counts.items() if status not in {"failed", "not_asked", "grade_error"})
    return SideSummary(
        mean=mean,
        standard_error=None if mean is None else 0.011,
        planned=planned,
        valued=valued,
        k=k,
        counts=counts,
        failures=more.pop("failures", {}),
        prompt_tokens=61_000,
        completion_tokens_mean=412.5,
        completion_tokens_p95=1890.0,
        latency_p50_seconds=3.21,
        lenient_mean=mean,
        **more,
    )


def suite(name: str, label: str, verdict: Verdict, **changes) -> SuiteResult:
    values = {
        "suite": name,
        "label": label,
        "verdict": verdict,
        "reasons": (Reason("equivalent", {"interval": Interval(-0.0141, 0.0085, 0.9), "margin": 0.02}),),
        "n_items": 198,
        "k_reference": 8.0,
        "k_candidate": 8.0,
        "reference": side(1115 / 1584, 1584, 8.0),
        "candidate": side(1111 / 1584, 1584, 8.0),
        "difference": -4 / 1584,
        "ci90": Interval(-0.0141, 0.0085, 0.9),
        "ci95": Interval(-0.0163, 0.0107, 0.95),
        "margin": 0.02,
        "p_tost": 0.006,
        "p_difference": 0.68,
        "method": "t on item means",
        "coverage": 1.0,
        "flips": Flips(21, 18, 0.197),
        "noise_floor": Interval(-0.0113, 0.0127, 0.9),
        "headline": "acc",
        "chance": 0.25,
        "licence": "CC-BY-4.0",
        "data_digest": "sha256:4b1d6f02",
        "protocol_digest": "sha256:99aa10c7",
        "variance_within": 0.09,
        "variance_between": 0.002,
    }
    return SuiteResult(**{**values, **changes})


def equivalent_suites() -> tuple[SuiteResult, ...]:
    behaviour = (
        BehaviourRow("answer_length", 412.5, 431.0, "tokens"),
        BehaviourRow("answer_length_ratio", None, 1.045, "times", Interval(0.99, 1.09, 0.95)),
        BehaviourRow(
            "cut_answers", 0.012, 0.049, "share", Interval(0.021, 0.054, 0.95),
            Reason("alert.rose", {"name": "cut_answers", "reference": 0.012, "candidate": 0.049, "n": 1584}),
        ),
        BehaviourRow("refusals", None, 0.0, "share"),
    )  # fmt: skip
    breakdown = (
        BreakdownRow(("Physics",), 86, 0.81, 0.80, -0.01, Interval(-0.031, 0.012, 0.9)),
        BreakdownRow(("Chemistry", "Organic"), 93, 0.6, 0.61, 0.01, None),
    )
    return (
        suite("gpqa_diamond", "GPQA Diamond", Verdict.EQUIVALENT, gated=True, behaviour=behaviour, breakdown=breakdown),
        suite(
            "mmlu_gen_5shot",
            "MMLU (5-shot, chat)",
            Verdict.EQUIVALENT,
            n_items=14042,
            k_reference=1.0,
            k_candidate=1.0,
            reference=side(0.66893, 14042, 1.0),
            candidate=side(0.67338, 14042, 1.0),
            difference=0.00445,
            ci90=Interval(0.00031, 0.00861, 0.9),
            ci95=Interval(-0.00049, 0.00941, 0.95),
            margin=0.01,
            noise_floor=None,
            reasons=(Reason("equivalent.differs", {"interval": Interval(0.00031, 0.00861, 0.9), "margin": 0.01}),),
            method="Tango score interval",
        ),
    )


def other_suites() -> tuple[SuiteResult, ...]:
    return (
        suite(
            "musr",
            "MuSR 多步推理",
            Verdict.DEGRADED,
            n_items=756,
            k_reference=4.0,
            k_candidate=3.98,
            reference=side(0.6442, 3024, 4.0),
            candidate=side(
                0.5731, 3024, 3.98, {"scored": 2988, "truncated": 24, "failed": 12}, failures={"timeout": 12}
            ),
            difference=-0.0711,
            ci90=Interval(-0.0893, -0.0529, 0.9),
            ci95=Interval(-0.0928, -0.0494, 0.95),
            reasons=(
                Reason("degraded", {"interval": Interval(-0.0893, -0.0529, 0.9), "margin": 0.02}),
                Reason(
                    "second_run.same",
                    {"reason": Reason("degraded", {"interval": Interval(-0.081, -0.049, 0.9), "margin": 0.02})},
                ),
            ),
            flips=Flips(88, 31, 0.157),
            coverage=0.996,
        ),
        suite(
            "theoremqa",
            "TheoremQA",
            Verdict.ELEVATED,
            n_items=800,
            reference=side(0.077, 6400, 8.0),
            candidate=side(0.412, 6400, 8.0),
            difference=0.335,
            ci90=Interval(0.3081, 0.3619, 0.9),
            ci95=Interval(0.3029, 0.3671, 0.95),
            reasons=(Reason("elevated", {"interval": Interval(0.3081, 0.3619, 0.9), "margin": 0.02}),),
            chance=None,
        ),
        suite(
            "aime24",
            "AIME 2024",
            Verdict.INCONCLUSIVE,
            n_items=30,
            k_reference=16.0,
            k_candidate=8.0,
            reference=side(0.7, 480, 16.0),
            candidate=side(0.7667, 240, 8.0),
            difference=0.0667,
            ci90=Interval(-0.0213, 0.1547, 0.9),
            ci95=Interval(-0.0392, 0.1726, 0.95),
            margin=0.05,
            reasons=(
                Reason(
                    "inconclusive",
                    {"interval": Interval(-0.0213, 0.1547, 0.9), "margin": 0.05, "needed": NEEDED},
                ),
            ),
            needed_repeats=NeededRepeats(51, 3060, 24_400_000, 0.8),
            chance=0.0,
            noise_floor=Interval(-0.041, 0.038, 0.9),
        ),
        suite(
            "livebench",
            HOSTILE_LABEL,
            Verdict.INVALID,
            n_items=910,
            reference=side(0.501, 910, 1.0),
            candidate=side(None, 910, 0.0, {"failed": 600, "not_asked": 310}, failures={"auth": 600}),
            k_reference=1.0,
            k_candidate=0.0,
            difference=None,
            ci90=None,
            ci95=None,
            p_tost=None,
            p_difference=None,
            noise_floor=None,
            coverage=0.0,
            reasons=(
                Reason("coverage", {"share": 0.0, "least": 0.98, "one": 0, "ones": 910, "two": 910, "twos": 910}),
                said(HOSTILE),
            ),
            chance=None,
        ),
    )


def flips() -> tuple[Flip, ...]:
    common = {"reference_status": "scored", "candidate_status": "scored"}
    return (
        Flip(
            "musr", "story-17", "regressed", 1.0, 0.0, "scored", "truncated", "B", None,
            "The butler was in the garden, so the answer is B.\nANSWER: B",
            "The butler was in the kitchen, so the kitchen, so the kitchen, so the", "B", 4.0,
            question="Who did it?", stratum=("murder",),
        ),
        Flip(
            "gpqa_diamond", "rec001", "regressed", 0.875, 0.25, reference_answer="A", candidate_answer="C",
            reference_text="Angular momentum is conserved.\nAnswer: A", candidate_text="Angular velocity is conserved.\nAnswer: C",
            target="A", evidence=3.0, question="SECRET-GATED-QUESTION", repeat=3, **common,
        ),
        Flip(
            "musr", "story-4", "improved", 0.0, 1.0, reference_answer="A", candidate_answer="B",
            reference_text="综上所述，凶手是管家。答案：A", candidate_text="综上所述，凶手是园丁。答案：B",
            target="B", evidence=2.5, question="凶手是谁？", **common,
        ),
        Flip(
            "livebench", HOSTILE, "changed", 0.5, 0.5, reference_answer=HOSTILE, candidate_answer="<svg onload=alert(2)>",
            reference_text=HOSTILE, candidate_text=f"<!-- {HOSTILE} --><script>alert(3)</script>\u2028]]>",
            target=HOSTILE, evidence=1.0, question=HOSTILE, **common,
        ),
    )  # fmt: skip


LACKS = Reason("overall.lacks", {"labels": (HOSTILE_LABEL,), "n": 1, "all": 6})


def comparison() -> Comparison:
    """All five verdicts; the overall verdict is INVALID."""
    suites = (*equivalent_suites(), *other_suites())
    return Comparison(
        reference=identity("reference"),
        candidate=identity(
            "candidate",
            versions={"evalkit": "0.1.0", "vllm": "0.28.0", "flaggems": "5.3.5"},
            endpoint={"base_url": "http://gpu-9:8000/v1", "chip": "Ascend"},
        ),
        suites=suites,
        verdict=Verdict.INVALID,
        exit_code=3,
        reasons=(
            Reason("overall.verdict", {"n": 1, "all": 6, "verdict": "INVALID", "labels": (HOSTILE_LABEL,)}),
            Reason("overall.verdict", {"n": 1, "all": 6, "verdict": "DEGRADED", "labels": ("MuSR 多步推理",)}),
        ),
        macro=Macro(
            0.5182, 0.6252, 0.0654, Interval(0.0551, 0.0757, 0.9), 5, "musr", -0.0711, 0.015, Verdict.INVALID, (LACKS,)
        ),
        differences=(Difference("endpoint.env.USE_FLAGGEMS", "", "1"), Difference("endpoint.chip", "H100", "Ascend")),
        alpha=0.05,
        created="2026-07-04T11:22:33Z",
        evalkit_version="0.1.0",
        flips=flips(),
        notes=(Reason("note.unanswered", {"name": "candidate", "n": 910}),),
    )


def clean() -> Comparison:
    """Two suites, both EQUIVALENT: what may be published."""
    suites = equivalent_suites()
    whole = comparison()
    return replace(
        whole,
        suites=suites,
        verdict=Verdict.EQUIVALENT,
        exit_code=0,
        reasons=(Reason("overall.equivalent", {"n": 2, "margin": 0.015}),),
        macro=Macro(
            0.686465,
            0.68729,
            0.000825,
            Interval(-0.0052, 0.0069, 0.9),
            2,
            "gpqa_diamond",
            -0.0028,
            0.015,
            Verdict.EQUIVALENT,
            (Reason("equivalent", {"interval": Interval(-0.0052, 0.0069, 0.9), "margin": 0.015}),),
        ),
        flips=tuple(flip for flip in whole.flips if flip.suite == "gpqa_diamond"),
    )


def with_flips(number: int, suites: int = 0) -> Comparison:
    """Many flips, each with two replies of some hundred characters; `suites` more suites than the example has."""
    base = comparison()
    words = ["the", "candidate", "and", "the", "reference", "agree", "until", "here", "where", "one", "differs"]
    made = []
    for i in range(number):
        shared = " ".join(words[j % len(words)] for j in range(i % 60))
        template = base.flips[i % len(base.flips)]
        made.append(
            replace(
                template,
                item=f"item-{i:05d}",
                reference_text=f"{shared} left {i}",
                candidate_text=f"{shared} right {i}",
                evidence=float(number - i),
            )
        )
    extra = tuple(suite(f"extra{i}", f"Extra {i}", Verdict.EQUIVALENT) for i in range(suites))
    return replace(base, suites=(*base.suites, *extra), flips=tuple(made))
