"""What `prepare` functions share: they make documents of a data set's rows as its publisher ships them.

A suite's YAML names such a function under `metadata.evalkit.prepare`. It takes the raw rows of one split and the
suite's options, and gives documents with an `id` that is the same whatever mirror or file format the rows came from.
It is pure; a row that cannot be used raises ValueError with the row's number and the reason. The functions here do for
data sets that need none of their own; a benchmark's own stands beside its scorer.
"""

import ast
import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from typing import Any, Final, TypeAlias

from evalkit.resources import toml_file

Row: TypeAlias = Mapping[str, Any]
Settings: TypeAlias = Mapping[str, Any]
Document: TypeAlias = dict[str, Any]
Prepare: TypeAlias = Callable[[Sequence[Row], Settings], list[Document]]

LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LITERAL_LIMIT_CHARS: Final = 100_000


def by_row(function: Callable[[Row, Settings], Document]) -> Prepare:
    """The `prepare` that makes a document of each row by `function`, in the rows' order, and tells repeated ids apart.

    Raises `ValueError`: as `function`, with the row's number.
    """

    @wraps(function)
    def prepare(rows: Sequence[Row], settings: Settings) -> list[Document]:
        return number_repeats(each(function, rows, settings))

    return prepare


def each(function: Callable[[Row, Settings], Document], rows: Sequence[Row], settings: Settings) -> list[Document]:
    """`function` over the rows; a ValueError is given the row's number."""
    documents = []
    for number, row in enumerate(rows):
        try:
            documents.append(function(row, settings))
        except ValueError as error:
            raise ValueError(f"row {number} {error}") from error
    return documents


def number_repeats(documents: list[Document]) -> list[Document]:
    """The documents with "-2", "-3" ... put behind ids that occur again, in order."""
    seen: dict[str, int] = {}
    for document in documents:
        count = seen[document["id"]] = seen.get(document["id"], 0) + 1
        if count > 1:
            document["id"] = f"{document['id']}-{count}"
    return documents


@by_row
def plain(row: Row, _settings: Settings) -> Document:
    """The rows as they are, with an `id` made from their content where they have none."""
    fields = {key: value for key, value in row.items() if not key.startswith("_")}
    identity = fields.get("id") or content_id(*(str(fields[key]) for key in sorted(fields)))
    return {**fields, "id": str(identity)}


def by_split(rows: Sequence[Row], settings: Settings) -> list[Document]:
    """The rows whose `split` is the one that is asked for: of a file that holds the items and the worked examples.

    Raises `ValueError`: where a row has no `id` or no `split`.
    """
    documents = []
    for number, row in enumerate(rows):
        missing = [name for name in ("id", "split") if not row.get(name)]
        if missing:
            raise ValueError(f"row {number} has no {' and no '.join(missing)}")
        if row["split"] == settings["_split"]:
            documents.append({key: value for key, value in row.items() if not key.startswith("_") and key != "split"})
    return documents


def clean(value: object) -> str:
    """Text with LF line ends and no surrounding white space; "" for None."""
    return "" if value is None else str(value).replace("\r\n", "\n").strip()


def content_id(*parts: str) -> str:
    """Twelve hexadecimal digits that stand for the given texts."""
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:12]


def field(row: Row, *names: str) -> Any:
    """The first of the columns that is there and not null. Raises `ValueError`: there is none."""
    for name in names:
        if row.get(name) is not None:
            return row[name]
    raise _absent(row, names)


def text_of(row: Row, *names: str) -> str:
    """The text of `field` with LF line ends, white space around it included.

    Raises `ValueError`: there is none, or it is blank.
    """
    text = str(field(row, *names)).replace("\r\n", "\n")
    if not text.strip():
        raise _absent(row, names)
    return text


def _absent(row: Row, names: Sequence[str]) -> ValueError:
    return ValueError(f"has no {' or '.join(map(repr, names))} (its columns: {', '.join(map(str, row))})")


def listed(value: object) -> list[Any]:
    """A list of options, or the Python literal of one, without its nesting: some are published one level too deep.

    Raises `ValueError`: it is no list.
    """
    if isinstance(value, str):
        shown = repr(value[:60])
        if len(value) > _LITERAL_LIMIT_CHARS:
            raise ValueError("has a list of options that is too long to be one")
        try:
            value = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            raise ValueError(f"has options that are no list: {shown}") from error
    if isinstance(value, str | Mapping) or not isinstance(value, Iterable):
        return [] if value is None else [value]
    return [inner for item in value for inner in ([item] if isinstance(item, str) else listed(item))]


def choices_of(row: Row, *names: str) -> list[str]:
    """The texts of a question's options, as `clean` leaves them.

    Raises `ValueError`: there are fewer than two, or more than there are letters.
    """
    choices = [clean(choice) for choice in listed(field(row, *names))]
    if not 2 <= len(choices) <= len(LETTERS):
        raise ValueError(f"has {len(choices)} options, not 2 to {len(LETTERS)}")
    return choices


def question_of(text: str, choices: Sequence[str], answer: str, mark: str = ".") -> Document:
    """`question`, `choices`, `answer` and `options`, which are the choices as lines "A. ..." for a prompt."""
    return {
        "question": text,
        "choices": choices,
        "answer": answer,
        "options": "\n".join(f"{letter}{mark} {choice}" for letter, choice in zip(LETTERS, choices, strict=False)),
    }


def letter_of(answer: object, choices: Sequence[str], *, or_place: bool = False) -> str:
    """The letter of the right option, which is given as a letter `or_place`, from 0.

    Raises `ValueError`: it is none of the options.
    """
    letter = str(answer).strip().upper()
    if or_place and letter.isdecimal() and int(letter) < len(choices):
        letter = LETTERS[int(letter)]
    if len(letter) != 1 or letter not in LETTERS[: len(choices)]:
        raise ValueError(f"has the answer {answer!r}, which is none of its {len(choices)} options")
    return letter


# They are neither decoded nor copied: `images` names the columns that hold them, in the order in which the text counts
# them, and a mark `<image 2>` in `question` (or in a choice) stands for the second of them. Pictures without a mark
# belong in front of the text.


def groups_of(benchmark: str) -> dict[str, str]:
    """The group (category, discipline) of each subject of a benchmark, as subjects.toml says."""
    groups = toml_file("scoring/subjects.toml")[benchmark]
    return {subject: group for group, subjects in groups.items() for subject in subjects.split()}


def columns_of(row: Row, pattern: str) -> list[str]:
    """The columns whose names match and that are not null, by the number in their name."""
    found = [match for name in row if row[name] is not None and (match := re.fullmatch(pattern, name))]
    return [match.string for match in sorted(found, key=lambda match: int(match[1] or 0))]


def marked(text: str, mark: re.Pattern[str], places: Mapping[str, int], otherwise: str) -> str:
    """`text` with `<image 2>` for a mark whose name stands in second place, and `otherwise` for one without a place."""

    def place(found: re.Match[str]) -> str:
        return f"<image {places[found[1]]}>" if found[1] in places else otherwise.format(found[1])

    return mark.sub(place, text)
