"""`evalkit report CMP`: a stored comparison as a table, a page, a file for CI, or through a template of one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from evalkit.cli import stored

if TYPE_CHECKING:
    from evalkit.model import Comparison

FORMATS: Final = ("terminal", "markdown", "csv", "latex", "json", "html", "junit", "openmetrics", "summary")


@click.command("report")
@stored.argument
@click.option(
    "--format",
    "form",
    default="terminal",
    show_default=True,
    metavar="FORMAT",
    help=f"One of {', '.join(FORMATS)}; or the path of a template, NAME.md.j2 (.html, .tex, .csv, .txt).",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to this file, not to stdout.")
@stored.language
@click.option("--behaviour", is_flag=True, help="Add the rows beside accuracy (terminal, markdown, latex).")
@click.option(
    "--include-questions", is_flag=True, help="HTML: print questions, answers and replies of gated data sets too."
)
@click.option("--include-hosts", is_flag=True, help="HTML: print where the endpoints are, and whole paths.")
def command(comparison: Path, form: str, out: Path | None, **given: Any) -> None:
    """Render a stored comparison.

    CMP is the folder that `evalkit compare` stored, or the comparison.json in it. Nothing is run or judged anew.
    """
    made = stored.read(comparison)
    _check(form, given)
    if form == "terminal":
        _print_table(made, given, out)
        return
    if form == "html" and out is None:
        stored.refuse_terminal("--out")
    stored.deliver(_content(made, form, given), out)


def _check(form: str, given: dict[str, Any]) -> None:
    """An option that the format does not know is a mistake, not a wish."""
    from evalkit.errors import UsageError, did_you_mean

    template = form.endswith(".j2")
    if form not in FORMATS and not template:
        raise UsageError(
            f"--format {form!r} is not known{did_you_mean(form, FORMATS)}; a template of your own is NAME.FORMAT.j2"
        )
    if given["behaviour"] and not template and form not in {"terminal", "markdown", "latex"}:
        raise UsageError(f"--behaviour: has no effect on {form}: it adds rows to terminal, markdown and latex")
    for option in ("include_questions", "include_hosts"):
        if given[option] and form != "html":
            raise UsageError(f"--{option.replace('_', '-')}: has no effect on {form}: it is about --format html")


def _content(comparison: Comparison, form: str, given: dict[str, Any]) -> str | bytes:
    language = given["language"]
    if form == "html":
        from evalkit.render.html import report

        return report(
            comparison,
            language=language,
            include_questions=given["include_questions"],
            include_hosts=given["include_hosts"],
        )
    if form in {"junit", "openmetrics", "summary"}:
        from evalkit.render import ci

        if form == "summary":
            return ci.summary(comparison, language=language)
        return ci.junit(comparison) if form == "junit" else ci.openmetrics(comparison)
    if form.endswith(".j2"):
        from evalkit.render.jinja import render_template

        options = {"behaviour": given["behaviour"]}
        return render_template(Path(form), comparison, language=language, options=options)
    from evalkit.render.tables import table_text

    return table_text(comparison, form, language=language, behaviour=given["behaviour"])  # type: ignore[arg-type]


def _print_table(comparison: Comparison, given: dict[str, Any], out: Path | None) -> None:
    """The table as `evalkit compare` prints it; a file gets it without colours, 100 columns wide."""
    from rich.console import Console

    from evalkit.render.tables import TerminalTable

    table = TerminalTable(comparison, given["language"], given["behaviour"])
    if out is None:
        Console().print(table)
        return
    import io

    text = io.StringIO()
    Console(file=text, width=100).print(table)
    stored.deliver(text.getvalue(), out)
