"""One sandboxed Jinja environment per output format: everything a template prints is escaped for its format.

The format is read from the template's name, `NAME.FORMAT.j2`: md, html, tex, csv, txt, xml or json. A new report is one
template: `render_template(path, comparison)`.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from evalkit import codec
from evalkit.errors import UsageError
from evalkit.model import Comparison, Reason
from evalkit.render import numbers, words
from evalkit.render.rows import beside_label, paragraph, part_text, probe_sentence, sentences, table_of, value_text
from evalkit.render.words import SYMBOLS, Language, is_english, say, verdict_text, words_of
from evalkit.resources import data_folder

if TYPE_CHECKING:
    from jinja2.sandbox import SandboxedEnvironment

_ESCAPES: Final[Mapping[str, Callable[[Any], str]]] = {
    "md": words.markdown,
    "tex": words.latex,
    "csv": words.csv_cell,
    "txt": words.one_line,
    "html": words.clean,  # and autoescaped by Jinja
    "xml": words.xml_value,
    "json": codec.dump,
}


class Raw(str):
    """Text that a template made itself and that is printed as it is."""

    __slots__ = ()


def render_template(
    path: Path, comparison: Comparison, *, language: Language = "en", options: Mapping[str, Any] | None = None
) -> str:
    """Fill one template. It sees `comparison`, `table` (rounded rows), `probe` (a sentence), `words`, `language`.

    Args:
        path: a file named `NAME.FORMAT.j2`; what it includes or extends is looked for beside it, then in evalkit's
            own reports folder.
        comparison: what is reported.
        language: of the fixed words.
        options: further values by name; a name that is not given is an error where the template uses it.

    Raises `UsageError`: no such file, an unknown format, or a template that is wrong; names the file and the line.
    """
    if not path.is_file():
        raise UsageError(f"there is no template {path}: give the path of a file named NAME.FORMAT.j2")
    context = {
        "comparison": comparison,
        "table": table_of(comparison, language),
        "words": words_of(language),
        "language": language,
        "probe": probe_sentence(comparison.probe, language),
        **(options or {}),
    }
    return fill(path, context)


def fill(path: Path, context: Mapping[str, Any]) -> str:
    """Fill a template with values by name; errors as in `render_template`."""
    from jinja2 import TemplateError

    environment = _environment(path.parent.resolve(), _format_of(path))
    try:
        return environment.get_template(path.name).render(context)
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise UsageError(f"{path}{_line_of(error, path.name)}: {error}") from error


def own(name: str, language: Language = "en", **values: Any) -> str:
    """Fill one of evalkit's own templates, which sees `words` and `language` beside the values."""
    return fill(data_folder("reports") / name, {"words": words_of(language), "language": language, **values})


def _format_of(path: Path) -> str:
    parts = path.name.split(".")
    if len(parts) < 3 or parts[-1] != "j2" or parts[-2] not in _ESCAPES:
        raise UsageError(
            f"the template {path} does not say what it makes: name it NAME.FORMAT.j2 with one of {', '.join(_ESCAPES)}"
        )
    return parts[-2]


def _line_of(error: Exception, name: str) -> str:
    line = getattr(error, "lineno", None)
    if line is None:
        frames = traceback.extract_tb(error.__traceback__)
        line = next((frame.lineno for frame in reversed(frames) if Path(frame.filename).name == name), None)
    return f" line {line}" if line else ""


@cache
def _environment(folder: Path, output: str) -> SandboxedEnvironment:
    """The environment of a folder and a format; a template can read those two folders and nothing else."""
    from jinja2 import FileSystemLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader([folder, data_folder("reports")]),
        undefined=StrictUndefined,
        autoescape=output == "html",
        finalize=_finalizer(output),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=True,
        cache_size=20,
    )
    environment.filters.update(_filters(output))
    return environment


def _finalizer(output: str) -> Callable[[object], object]:
    """What is done to every printed value, constants of the template excepted."""
    escape_text = _ESCAPES[output]
    if output == "json":
        return lambda value: value if isinstance(value, Raw) else escape_text(value)

    def finalize(value: object) -> object:
        if isinstance(value, Raw) or hasattr(value, "__html__"):
            return value
        if value is None:
            raise TypeError("a missing value (None) is printed; say what stands in its place")
        if isinstance(value, Decimal):
            return f"{value:f}"
        if isinstance(value, Reason):
            return escape_text(say(value))
        return escape_text(value) if isinstance(value, str) else value

    return finalize


def _filters(output: str) -> dict[str, Callable[..., object]]:
    """Filters under the same names in every format."""
    number = _number_writer(output)

    def shown(write: Callable[[Any], str | None]) -> Callable[..., str]:
        """A filter that prints what `write` makes of a value, or what stands for a missing one."""

        def printed(value: Any, missing: str = "—") -> str:
            text = None if value is None else write(value)
            return Raw(missing) if text is None else number(text)

        return printed

    return {
        "change": shown(numbers.change_text),
        "bounds": shown(numbers.bounds),
        "plain": shown(numbers.plain),
        "ends": shown(lambda line: line.ends),
        "signed": lambda value: number(numbers.signed(value)),
        "symbol": SYMBOLS.__getitem__,
        "verdict": verdict_text,
        "raw": Raw,
        "text": lambda text: Raw(words.xml_text(text)),
        "cell": lambda text: Raw(words.markdown(f"x{text}")[1:]),
        "code": lambda text: Raw(words.one_line(text).replace("`", "'").replace("|", "/").strip()),
        # Unlike str.format it cannot reach into the values.
        "say": lambda text, **values: re.sub(r"\{(\w+)\}", lambda match: str(values[match[1]]), text),
        "told": say,
        "english": is_english,
        "value": value_text,
        "amount": words.amount,
        "percent": lambda share: numbers.rounded(numbers.points(share), 1),
        "part": part_text,
        "beside": beside_label,
        "sentences": sentences,
        "paragraph": paragraph,
    }


def _number_writer(output: str) -> Callable[[str], str]:
    """Numbers in a format: mathematics in LaTeX (a real minus), quoted in CSV, else as they are."""
    if output == "tex":
        return lambda text: Raw(f"${text}$")
    if output == "html":
        return lambda text: text
    return Raw
