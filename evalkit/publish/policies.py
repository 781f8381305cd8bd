"""Policies: a file that says what decides a comparison, and rules of thumb shown beside evalkit's own verdict.

A policy names margins, and suites that are advisory: judged and shown, and deciding nothing. It may hold a rule of
thumb ("no more than 5 % of the reference's score"); what such a rule would have said of each suite, and how often it
errs at this size, is told in notes. A rule of thumb never changes a verdict.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from evalkit.config.problems import problems
from evalkit.config.suite import PolicyFile, Rule
from evalkit.config.yaml import KeyPath, Node, find, parse_file
from evalkit.errors import UsageError, did_you_mean
from evalkit.model import Comparison, Interval, Macro, Reason, SuiteResult, Value
from evalkit.resources import data_folder
from evalkit.stats.tails import normal_quantile, normal_sf

MUCH: Final = 0.2  # the share of its score that a candidate loses which any rule should find


def read_policy(name: str | Path) -> tuple[PolicyFile, Node]:
    """A policy, and the places of what it says: one of evalkit's own by its name, or a file.

    Raises `UsageError`: there is none, or everything that is wrong with it, with file, line and key.
    """
    path = Path(name)
    if path.suffix not in {".yaml", ".yml"}:
        own = {one.stem: one for one in sorted((data_folder("reports") / "policies").glob("*.yaml"))}
        if str(name) not in own:
            near = did_you_mean(str(name), own)
            raise UsageError(f"--policy {name}: is no .yaml file and none of {', '.join(own)}{near}")
        path = own[str(name)]
    tree = parse_file(path)
    try:
        return PolicyFile.model_validate(tree.plain()), tree
    except ValidationError as error:
        raise UsageError(problems(error, tree, PolicyFile)) from None


def check_suites(policy: PolicyFile, tree: Node, compared: list[str]) -> None:
    """Raises `UsageError` where a policy names a suite that is not compared, or leaves none that decides."""
    named: list[tuple[KeyPath, str]] = [(("margins_pt", one), one) for one in policy.margins_pt]
    named += [(("advisory", place), one) for place, one in enumerate(policy.advisory)]
    for path, suite in named:
        if suite not in compared:
            node = find(tree, path) or tree
            raise UsageError(f"{node.origin}: {suite!r} is not compared{did_you_mean(suite, compared)}")
    if compared and set(compared) <= set(policy.advisory):
        raise UsageError(f"{tree.origin}: advisory: names all suites that are compared: none would decide")


def ruled(comparison: Comparison, name: str, rule: Rule) -> Comparison:
    """The comparison with a note on each suite, and their mean, of what the rule would have said and how it errs."""
    return replace(comparison, notes=(*comparison.notes, *_said(comparison, name, rule)))


def _said(comparison: Comparison, name: str, rule: Rule) -> Iterator[Reason]:
    rows: list[SuiteResult | Macro] = list(comparison.suites)
    if comparison.macro is not None:
        rows.append(comparison.macro)
    for row in rows:
        label = row.label if isinstance(row, SuiteResult) else "overall"
        means = (row.reference, row.candidate) if isinstance(row, Macro) else (row.reference.mean, row.candidate.mean)
        if means[0] is None or means[1] is None or row.ci90 is None:
            continue
        allowed = rule.allowed(means[0])
        told: dict[str, Value] = {"policy": name, "label": label, "reference": means[0], "candidate": means[1]}
        told |= {"least": means[0] - allowed, "verdict": row.verdict.value, "margin": row.margin}
        told |= _errors(means[0], allowed, row.ci90, row.margin)
        yield Reason("policy.passes" if means[1] >= means[0] - allowed else "policy.fails", told)


def _errors(reference: float, allowed: float, interval: Interval, margin: float) -> dict[str, Value]:
    """How often the rule fails an identical candidate, and passes one that is a fifth or this margin worse.

    By the normal law, with the standard error that the comparison's interval has.
    """
    se = (interval.high - interval.low) / 2 / normal_quantile((1 + interval.level) / 2)

    def passes(loss: float) -> float:
        return float(allowed >= loss) if se == 0 else normal_sf((loss - allowed) / se)

    return {"alarms": 1 - passes(0.0), "missed": passes(MUCH * reference), "at_margin": passes(margin)}
