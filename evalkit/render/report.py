"""A comparison in any format by its name, or through a template of one's own; and the table that a notebook shows."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from evalkit.errors import UsageError, did_you_mean
from evalkit.model import Comparison
from evalkit.options import ReportOptions

FORMATS: Final = ("terminal", "markdown", "csv", "latex", "json", "html", "junit", "openmetrics", "summary")
_WIDTH: Final = 100


def check_format(form: str, options: ReportOptions) -> None:
    """Raises `UsageError` for a format that there is not, or an option that it does not know: it would do nothing."""
    template = form.endswith(".j2")
    if form not in FORMATS and not template:
        raise UsageError(
            f"--format {form!r} is not known{did_you_mean(form, FORMATS)}; a template of your own is NAME.FORMAT.j2"
        )
    if options.behaviour and not template and form not in {"terminal", "markdown", "latex"}:
        raise UsageError(f"--behaviour: has no effect on {form}: it adds rows to terminal, markdown and latex")
    for option in ("include_questions", "include_hosts"):
        if getattr(options, option) and form != "html":
            raise UsageError(f"--{option.replace('_', '-')}: has no effect on {form}: it is about --format html")


def rendered(comparison: Comparison, form: str, options: ReportOptions) -> str | bytes:
    """The comparison in a format.

    Raises:
        UsageError: as `check_format`, and for a template that cannot be used.
    """
    check_format(form, options)
    language = options.language
    if form == "terminal":
        return _terminal(comparison, options)
    if form == "html":
        from evalkit.render.html import report

        questions, hosts = options.include_questions, options.include_hosts
        return report(comparison, language=language, include_questions=questions, include_hosts=hosts)
    if form in {"junit", "openmetrics", "summary"}:
        from evalkit.render import ci

        if form == "summary":
            return ci.summary(comparison, language=language)
        return ci.junit(comparison) if form == "junit" else ci.openmetrics(comparison)
    if form.endswith(".j2"):
        from evalkit.render.jinja import render_template

        return render_template(Path(form), comparison, language=language, options={"behaviour": options.behaviour})
    from evalkit.render.tables import table_text

    return table_text(comparison, form, language=language, behaviour=options.behaviour)  # type: ignore[arg-type]


def _terminal(comparison: Comparison, options: ReportOptions) -> str:
    """The table as `evalkit compare` prints it, without colours."""
    import io

    from rich.console import Console

    from evalkit.render.tables import TerminalTable

    text = io.StringIO()
    Console(file=text, width=_WIDTH).print(TerminalTable(comparison, options.language, options.behaviour))
    return text.getvalue()


def notebook(comparison: Comparison) -> str:
    """The verdict and the table as HTML for a notebook; what models and servers said is escaped."""
    from markdown_it import MarkdownIt

    from evalkit.render import words
    from evalkit.render.rows import overall
    from evalkit.render.tables import table_text

    text = (
        f"**{comparison.verdict.value}** {words.markdown(overall(comparison))}\n\n{table_text(comparison, 'markdown')}"
    )
    return str(MarkdownIt("commonmark", {"html": False}).enable("table").render(text))
