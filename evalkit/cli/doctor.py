"""Before endpoints are asked for hours: `doctor` looks at them; `bench-client` measures this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from evalkit import api
from evalkit.cli import options
from evalkit.errors import UsageError
from evalkit.options import RunOptions

if TYPE_CHECKING:
    from evalkit.examine.checks import Finding
    from evalkit.examine.doctor import Report
    from evalkit.model import Difference

_COLOURS: Final = {"ok": "green", "note": "cyan", "warning": "yellow", "problem": "red"}
_LISTED_CHECK: Final = 15


@click.command("doctor")
@options.of("doctor")
def doctor(reference: Path, candidate: Path | None, quiet: bool, as_json: bool, **given: Any) -> int:
    """Check an endpoint with some sixty short requests; with two files, also what differs between the stacks."""
    if given["anyway"] and candidate is None:
        raise UsageError("--anyway: has no effect on one endpoint")
    chosen = RunOptions(overrides=given["overrides"])
    found = api.doctor(reference, candidate, chosen, data=not given["no_data"], anyway=given["anyway"])
    if as_json:
        options.print_json(found.document())
        return found.exit_code
    for report in found.reports:
        _show_report(report, quiet=quiet)
    if candidate is not None:
        _show_across(found.between, found.differences, quiet=quiet)
    return found.exit_code


def _show_report(report: Report, *, quiet: bool) -> None:
    """The findings of one endpoint; `quiet` leaves out what is well."""
    click.echo(f"{report.name} ({', '.join(report.urls)})")
    for finding in report.findings:
        _show_finding(finding, quiet=quiet)
    counts = {name: sum(one.severity == name for one in report.findings) for name in ("problem", "warning", "note")}
    told = ", ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in counts.items())
    click.echo(f"  {told}; {report.requests} request{'s' * (report.requests != 1)}")


def _show_finding(finding: Finding, *, quiet: bool) -> None:
    """One finding on a line, with why and how to mend it below where something is amiss."""
    severity = finding.severity.value
    if quiet and severity in {"ok", "note"}:
        return
    word = click.style(f"{severity:<8}", fg=_COLOURS[severity])
    indent = _LISTED_CHECK + 12
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    click.echo(f"  {word} {finding.check:<{_LISTED_CHECK}} {wrapped(finding.what, indent, width)}")
    for label, text in (("why: ", finding.why), ("fix: ", finding.fix)):
        if text and severity != "ok":
            click.echo(" " * indent + label + wrapped(text, indent + len(label), width))


def wrapped(text: str, indent: int, width: int | None) -> str:
    """A text whose further lines begin under its first, which stands at `indent`; one line where `width` is None."""
    if width is None:
        return text
    lines = textwrap.wrap(text, max(width - indent, 30), break_long_words=False, break_on_hyphens=False)
    return f"\n{' ' * indent}".join(lines)


def _show_across(across: Sequence[Finding], differences: Sequence[Difference], *, quiet: bool) -> None:
    click.echo("between the two")
    for finding in across:
        _show_finding(finding, quiet=quiet)
    if not quiet:
        for one in differences:
            click.echo(f"  {'file':<8} {one.key}: {one.reference} | {one.candidate}")
    if not across and not differences:
        click.echo("  nothing differs")


@click.command("bench-client")
@options.of("bench-client")
def bench_client(**settings: Any) -> int:
    """Measure what evalkit's own client costs, on a loopback server that it starts."""
    from evalkit.resources import data_folder

    program, told = data_folder("bench") / "asking.py", json.dumps(settings)
    env = {**os.environ, "PYTHONSAFEPATH": ""}  # it imports its neighbour
    done = subprocess.run((sys.executable, str(program), told), stdout=subprocess.PIPE, text=True, check=False, env=env)  # noqa: S603
    click.echo(done.stdout, nl=False)
    return done.returncode
