"""Makes foreign text harmless: one function per format, each leaving what a reader sees unchanged.

Foreign text is whatever a model, a data set, an endpoint or a suite file says. Control and direction-changing
characters, which no format needs, become U+FFFD first: they move cursors, forge lines and break XML.
"""

from __future__ import annotations

import os
import re
from typing import Final
from xml.sax import saxutils

_UNWANTED: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 but tab and newline, DEL, C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # marks and overrides of direction
    "\ud800-\udfff\ufffe\uffff\ufeff\u2028\u2029]"  # no characters at all; line ends that only some programs see
)
_COMMAND: Final = re.compile(r":(?=:)|##(?=\[)")  # what a workflow command begins with
_MARKDOWN: Final = re.compile(r"([\\`*\[\]<>|~&#$])")
_MARKDOWN_UNDERSCORE: Final = re.compile(r"(?<![^\W_])_")
# First on a line, a slash is a command to GitLab ("/approve") and two colons are one to GitHub.
_MARKDOWN_START: Final = re.compile(r"^(\s*)(?:([-+=/]|:(?=:))|(\d{1,9})([.)])(?=\s|$))")
_LATEX: Final = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\char34{}",
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "[": r"{[}",
    "]": r"{]}",
}
_LATEX_TABLE: Final = str.maketrans(_LATEX)


def clean(text: str) -> str:
    """Text without control and direction-changing characters; CRLF becomes a newline, other intruders U+FFFD."""
    return _UNWANTED.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """`clean`, with every run of white space made one space."""
    return re.sub(r"\s+", " ", clean(text))


def without_commands(text: str) -> str:
    """Text for a terminal; in a GitHub job, which reads commands from it, none can be told from text any more."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return text
    return _COMMAND.sub(r"\g<0> ", text)


def markdown(text: str) -> str:
    """Text for one line of GitHub-flavoured Markdown, in a table cell or not; no HTML, no link, no emphasis."""
    line = _MARKDOWN.sub(r"\\\1", one_line(text))
    line = _MARKDOWN_UNDERSCORE.sub(r"\\_", line)
    line = line.replace("://", r"\://").replace("www.", r"www\.")
    return _MARKDOWN_START.sub(_escape_start, line)


def _escape_start(match: re.Match[str]) -> str:
    space, sign, number, mark = match.groups()
    return f"{space}\\{sign}" if sign else f"{space}{number}\\{mark}"


def xml_text(text: str) -> str:
    """Text between two tags of XML."""
    return saxutils.escape(clean(text))


def xml_value(text: str) -> str:
    """Text for an attribute's value in XML, or anywhere else in it: no quote, no line end that a parser changes."""
    return saxutils.escape(clean(text), {'"': "&quot;", "\n": "&#10;", "\t": "&#09;"})


def latex(text: str) -> str:
    """Text for LaTeX's text mode: no command, no alignment character, no ligature."""
    return re.sub("-(?=-)", "-{}", one_line(text).translate(_LATEX_TABLE))


def csv_cell(text: str) -> str:
    """Text as one quoted CSV cell; a leading =, +, -, @ gets an apostrophe so that no spreadsheet computes it."""
    cell = clean(text)
    if cell.lstrip().startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠")):
        cell = "'" + cell
    return '"' + cell.replace('"', '""') + '"'
