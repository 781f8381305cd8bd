"""Model cards: the table in a house style with its provenance, and putting it into a README between two markers."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

import yaml
from pydantic import ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from evalkit.compare.operators import n_operators
from evalkit.config.base import Section
from evalkit.config.problems import problems
from evalkit.config.yaml import parse_file
from evalkit.errors import UsageError, did_you_mean, nearest
from evalkit.model import Comparison, Macro, Status, SuiteResult, Verdict
from evalkit.render.jinja import own
from evalkit.render.rows import claims, part_text, suite_row, table_of
from evalkit.render.words import Language, one_line, words_of
from evalkit.resources import data_folder

_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")
_MOST_ANCESTORS: Final = 8


class Style(Section):
    """One house style. `columns: scores` is the bare three-column table, `evidence` adds n, k, interval and margin.

    `reference` and `candidate` head their columns, with {model} and {chip}; `labels` names rows by suite, with {k};
    a suite without one keeps its own label. `overall` labels the row of the mean over suites, with {n}; without it,
    there is none. `chips` gives the house spelling of a chip by its lower-case name.
    """

    model_config = ConfigDict(strict=True)

    title: str
    columns: Literal["scores", "evidence"]
    first: Mapping[Literal["en", "zh"], str]
    reference: str
    candidate: str
    scale: Literal["percent", "fraction"]
    decimals: Annotated[int, Field(ge=0, le=6)]
    percent_sign: bool = False
    missing: str = "-"
    chips: Mapping[str, str] = {}
    labels: Mapping[str, str] = {}
    overall: Mapping[Literal["en", "zh"], str] = {}

    @field_validator("reference", "candidate", "labels", "overall")
    @classmethod
    def _known_places(cls, value: str | Mapping[str, str], info: ValidationInfo) -> str | Mapping[str, str]:
        known = {"labels": ["k"], "overall": ["n"]}.get(info.field_name or "", ["chip", "model"])
        texts = [value] if isinstance(value, str) else list(value.values())
        unknown = sorted(set(_PLACEHOLDER.findall("".join(texts))) - set(known))
        if unknown:
            told = f"{{{unknown[0]}}} is not known here, only {', '.join(f'{{{name}}}' for name in known)}"
            raise PydanticCustomError("placeholder", "{told}", {"told": told})
        return value

    def check_chip(self, name: str, chip: str) -> None:
        """Raises `UsageError` where the style, called `name`, wants a chip that is not said, or names none."""
        wanted = "{chip}" in self.reference + self.candidate
        if wanted and not chip:
            raise UsageError(f"--chip is missing: the style {name} names the chip in its column heads")
        if chip and not wanted:
            raise UsageError(f"--chip: no effect: the style {name} names no chip in its column heads")

    def header(self, side: Literal["reference", "candidate"], model: str, chip: str) -> str:
        """The heading of a side's column."""
        house = self.chips.get(chip.lower(), chip)
        return _filled(self.reference if side == "reference" else self.candidate, {"model": model, "chip": house})

    def label(self, suite: str, own_label: str, k: str) -> str:
        """The row label of a suite that was asked `k` times."""
        return _filled(self.labels[suite], {"k": k}) if suite in self.labels else own_label

    def overall_label(self, mean: Macro, language: Language) -> str:
        """The label of the row of the mean over suites; "" where the style has no such row."""
        label = self.overall.get(language, words_of(language)["mean_of_suites"]) if self.overall else ""
        return _filled(label, {"n": str(mean.suites)})


def style_names() -> tuple[str, ...]:
    """The names of evalkit's own styles, sorted."""
    return tuple(sorted(path.stem for path in (data_folder("reports") / "styles").glob("*.yaml")))


def load_style(name: str) -> Style:
    """A style by its name, or by the path of a YAML file.

    Raises `UsageError`: no such style, or a file that is wrong; names the file and the key.
    """
    path = _path_of(name)
    try:
        return Style.model_validate(_merged(path))
    except ValidationError as error:
        raise UsageError(problems(error, parse_file(path), Style)) from None


def _path_of(name: str, beside: Path | None = None) -> Path:
    """A path is taken as it is, from the folder of the file that names it; a bare word is one of evalkit's own."""
    if name.endswith((".yaml", ".yml")):
        path = Path(name) if beside is None else beside / name
        if not path.is_file():
            raise UsageError(f"there is no style file {path}")
        return path
    if name not in style_names():
        raise UsageError(
            f"there is no style {name!r}{did_you_mean(name, style_names())}; a style of your own is a .yaml file"
        )
    return data_folder("reports") / "styles" / f"{name}.yaml"


def read_yaml(path: Path) -> tuple[yaml.Node | None, Any]:
    """What a YAML file says, with the places of its parts.

    Raises `UsageError`: it is not YAML in UTF-8; `OSError`: it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return yaml.compose(text, yaml.SafeLoader), yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date that is none is a ValueError
        mark = getattr(error, "problem_mark", None)
        why = "" if isinstance(error, yaml.YAMLError | UnicodeDecodeError) else f" ({one_line(str(error))})"
        raise UsageError(f"{path}{f' line {mark.line + 1}' if mark else ''}: this is not YAML in UTF-8{why}") from None


def _merged(path: Path, depth: int = 0) -> dict[str, Any]:
    """The file's keys over those of the style it extends; `labels` and `chips` are merged key by key."""
    _, content = read_yaml(path)
    if not isinstance(content, dict):
        raise UsageError(f"{path}: a style is a mapping of keys to values")
    parent_name = content.pop("extends", None)
    if parent_name is None:
        return content
    if depth >= _MOST_ANCESTORS:
        raise UsageError(f"{path}: extends: the styles extend one another in a circle")
    parent = _merged(_path_of(str(parent_name), beside=path.parent), depth + 1)
    for key in ("labels", "chips"):
        if isinstance(content.get(key), dict) and isinstance(parent.get(key), dict):
            content[key] = {**parent[key], **content[key]}
    return {**parent, **content}


def _filled(text: str, values: Mapping[str, str]) -> str:
    return _PLACEHOLDER.sub(lambda match: values[match[1]], text)


BEGIN: Final = "<!-- evalkit:card -->"
END: Final = "<!-- /evalkit:card -->"

_BEGIN_LINE: Final = re.compile(rb"^[ \t]*<!--[ \t]*evalkit:card[ \t]*-->[ \t]*(?:\r?\n|\Z)", re.MULTILINE)
_END_LINE: Final = re.compile(rb"^[ \t]*<!--[ \t]*/evalkit:card[ \t]*-->[ \t]*(?:\r?$|\Z)", re.MULTILINE)

Allowed: TypeAlias = Literal["invalid", "partial"]  # what is published only where somebody says so


@dataclass(frozen=True, slots=True)
class CardSubject:
    """What the card is about: the chip, and the model's name where the reference run's is not the one to print."""

    chip: str
    model: str = ""


def card(
    comparison: Comparison,
    style: Style,
    subject: CardSubject,
    *,
    language: Language = "en",
    allow: Collection[Allowed] = (),
) -> str:
    """The card's Markdown: the table, then a provenance paragraph and a line for each suite.

    A fourth column gives each verdict as soon as one of them is not EQUIVALENT. A row of a suite that was not asked all
    of its data set says so.

    Raises `UsageError`: the comparison is INVALID or incomplete, or of a part of a data set, and `allow` does not hold
    that; or it is of a contract.
    """
    if comparison.of_contract:
        raise UsageError("this comparison makes no card: it is of a contract, whose promises are no accuracy")
    suites = [suite for suite in comparison.suites if not suite.row_of]
    parts = [f"{suite.label or suite.suite}: {part}" for suite in suites if (part := part_text(suite))]
    if parts and "partial" not in allow:
        told = one_line("; ".join(parts))
        raise UsageError(
            f"this comparison makes no card ({told}): ask all items, or give --partial to print it so marked"
        )
    warning = unpublishable(comparison, language)
    if warning and "invalid" not in allow:
        reason = unpublishable(comparison, "en")
        raise UsageError(
            f"this comparison makes no card ({reason}): finish the runs, or give --allow-invalid to print it so marked"
        )
    words = words_of(language)
    model = subject.model or comparison.reference.model.rstrip("/").rsplit("/", 1)[-1]
    context: dict[str, Any] = {
        "comparison": comparison,
        "table": table_of(comparison),
        "claims": claims(comparison, language),
        "style": style,
        "warning": warning,
        "first": style.first[language] if language in style.first else words["suite"],
        "reference": style.header("reference", model, subject.chip),
        "candidate": style.header("candidate", model, subject.chip),
        "lines": [_line(suite, style, language) for suite in suites],
        "overall": comparison.macro and style.overall_label(comparison.macro, language),
        "score": partial(score_text, style=style),
        "n_operators": n_operators,
    }
    return own("card.md.j2", language, **context)


def unpublishable(comparison: Comparison, language: Language) -> str:
    """Why the comparison should not be published, in one phrase; "" where nothing speaks against it."""
    words = words_of(language)
    invalid = [suite.label or suite.suite for suite in comparison.suites if suite.verdict is Verdict.INVALID]
    unfinished = [suite.label or suite.suite for suite in comparison.suites if incomplete(suite)]
    found = [("is_invalid", invalid, invalid or comparison.verdict is Verdict.INVALID)]
    found.append(("is_incomplete", unfinished, unfinished or not comparison.suites))
    return words["semicolon"].join(
        words[name] + (words["colon"] + words["list"].join(map(one_line, suites)) if suites else "")
        for name, suites, wrong in found
        if wrong
    )


def incomplete(suite: SuiteResult) -> bool:
    """True where a side was not asked everything, or has no score."""
    return any(
        side.mean is None or side.counts.get(Status.NOT_ASKED.value, 0) > 0
        for side in (suite.reference, suite.candidate)
    )


def _line(suite: SuiteResult, style: Style, language: Language) -> dict[str, Any]:
    """One row as the template shows it."""
    row, words, part = suite_row(suite), words_of(language), part_text(suite, language)
    label = style.label(suite.suite, row.label, row.k)
    # A suite's own label names the categories that it lacks already.
    label = f"{label}{words['open']}{part}{words['close']}" if part and part not in label else label
    return {"label": label, "row": row, "suite": suite, "incomplete": incomplete(suite)}


def score_text(mean: float | None, style: Style) -> str:
    """A mean as the style prints scores."""
    if mean is None:
        return style.missing
    value = Decimal(repr(float(mean))) * (100 if style.scale == "percent" else 1)
    text = f"{value.quantize(Decimal(1).scaleb(-style.decimals), ROUND_HALF_EVEN):f}"
    return text + "%" if style.percent_sign else text


def decoded(file: bytes) -> str:
    """The text of a file; raises `UsageError` where it is not UTF-8."""
    try:
        return file.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"the file is not UTF-8 (byte {error.start}): save it as UTF-8 first") from None


def into(file: bytes, card_text: str) -> bytes:
    """The file with the card between its two marker lines; every byte outside them is kept, line ends included.

    Raises `UsageError`: the two markers are not there exactly once and in order, or the file is not UTF-8.
    """
    decoded(file)
    begins, ends = list(_BEGIN_LINE.finditer(file)), list(_END_LINE.finditer(file))
    if len(begins) != 1 or len(ends) != 1 or begins[0].end() > ends[0].start():
        raise UsageError(
            f"the file has {len(begins)} line(s) {BEGIN} and {len(ends)} line(s) {END}:"
            " put each once on a line of its own, in this order, where the card is to be"
        )
    newline = b"\r\n" if begins[0].group().endswith(b"\r\n") else b"\n"
    body = b"\n" + card_text.strip("\n").encode() + b"\n\n"
    return file[: begins[0].end()] + body.replace(b"\n", newline) + file[ends[0].start() :]


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark as a label names it. `sizes` are its possible numbers of questions; `trials` what the label states.

    `name` is None where the label is not known; `key` is comparable in any case. `near_zero_is_real` marks tests on
    which a weak model may score almost nothing.
    """

    key: str
    variant: str
    name: str | None
    sizes: tuple[int, ...]
    chance: float | None
    near_zero_is_real: bool
    trials: int | None

    @property
    def identity(self) -> tuple[str, str]:
        """Equal for two labels that mean the same row."""
        return (self.name or self.key, self.variant)


def benchmark_of(label: str) -> Benchmark:
    """The benchmark that a row label means."""
    variant = pattern("variant").search(label.strip())
    stem = label.strip()[: variant.start()] if variant else label
    trials = pattern("trials").search(label)
    key = _key(pattern("marks").sub(" ", stem))
    name, _spelling = _names().get(key, (None, ""))
    entry = own_data("benchmarks")[name] if name else {}
    sizes = {_key(one): n for one, n in entry.get("n_of", {}).items()}.get(key, entry.get("n", []))
    return Benchmark(
        key=key,
        variant=variant[1].lower() if variant else "",
        name=name,
        sizes=tuple(sizes) if isinstance(sizes, list) else (sizes,),
        chance=entry.get("chance"),
        near_zero_is_real="floor" in entry,
        trials=int(trials[1]) if trials else None,
    )


def nearest_name(benchmark: Benchmark) -> str | None:
    """The known spelling that a label was perhaps meant to be."""
    near = nearest(benchmark.key, _names(), cutoff=0.8)
    return None if near is None else _names()[near][1]


def chip_of(text: str) -> str | None:
    """The last chip named in a card name or column head, by the name that counts."""
    found = [
        chip
        for token in re.split(r"[^A-Za-z0-9]+", text.lower())
        for chip, names in own_data("chips").items()
        if token in names
    ]
    return found[-1] if found else None


def _key(name: str) -> str:
    return "".join(re.findall(r"[^\W_]+", name.lower()))


@cache
def own_data(name: str) -> Mapping[str, Any]:
    """A YAML file of the folder `reports`: what is known of benchmarks, of chips, of data sets on the Hub."""
    content: dict[str, Any] = yaml.safe_load((data_folder("reports") / f"{name}.yaml").read_text("utf-8"))
    return content


@cache
def pattern(name: str) -> re.Pattern[str]:
    """One of the patterns of how published cards write things."""
    return re.compile(own_data("card_patterns")[name], re.IGNORECASE | re.VERBOSE)


@cache
def _names() -> Mapping[str, tuple[str, str]]:
    """The benchmark that a name means, by the name's key, and how the name is spelled."""
    known = own_data("benchmarks")
    return {_key(alias): (name, alias) for name, entry in known.items() for alias in (name, *entry["names"])}
