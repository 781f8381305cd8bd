"""Pictures of a data set: where the bytes are, not the bytes. They are read when a request is about to be sent.

A suite of a thousand pictures is gigabytes: a document holds `Picture` values, the loader takes each one's digest in a
single pass over the files, and `Picture.load` reads it again when it is wanted. Parquet gives rows by the group, so
the last groups read are kept; suites with pictures are asked in file order, which makes that enough.
"""

import hashlib
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.errors import DataError, SuiteError
from evalkit.files import digest

KEPT_GROUPS = 3
LEAST_GROUPS = 2  # as many stay whatever they weigh: two sides are seldom in the same one
KEPT_BYTES = 96 * 1024 * 1024
_MARK = re.compile(r"<image (\d{1,3})>")
_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".jp2"})


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture: a file of its own, or a cell of a parquet file (`group`, `row` in the group, `column`).

    `digest` is the SHA-256 of the source bytes, "missing" where a file is not there (which shows when it is sent).
    """

    file: Path
    digest: str
    group: int = -1
    row: int = -1
    column: str = ""

    def load(self) -> bytes:
        """The source bytes. Raises `OSError`: where the file cannot be read any more."""
        if self.group < 0:
            return self.file.read_bytes()
        return _bytes_of(_GROUPS.cells(self.file, self.group, self.column)[self.row].as_py()) or b""


class _Groups:
    """The picture cells of the parquet row groups read last, as Arrow columns; safe to use from several threads."""

    def __init__(self) -> None:
        self._held: OrderedDict[tuple[Path, int, str], Any] = OrderedDict()
        self._lock = threading.Lock()

    def cells(self, file: Path, group: int, column: str) -> Any:
        with self._lock:
            key = (file, group, column)
            if key not in self._held:
                self._make_room(1)
                from pyarrow import parquet

                with parquet.ParquetFile(file) as source:
                    self._held[key] = source.read_row_group(group, columns=[column]).column(column)
                self._make_room(0)
            self._held.move_to_end(key)
            return self._held[key]

    def _make_room(self, more: int) -> None:
        """Lets the longest unused go, for `more` to come."""
        while (count := len(self._held) + more) > LEAST_GROUPS and (
            count > KEPT_GROUPS or sum(cells.nbytes for cells in self._held.values()) > KEPT_BYTES
        ):
            self._held.popitem(last=False)


_GROUPS = _Groups()


def _bytes_of(cell: Any) -> bytes | None:
    if isinstance(cell, Mapping):
        cell = cell.get("bytes")
    return cell if isinstance(cell, bytes) else None


def parquet_rows(file: Any, path: Path) -> Iterator[dict[str, Any]]:
    """The rows of an open Parquet file (pyarrow's) with `Picture` values in place of picture bytes."""
    for group in range(file.num_row_groups):
        row = 0
        for batch in file.iter_batches(batch_size=32, row_groups=[group]):
            for fields in batch.to_pylist():
                for column, cell in fields.items():
                    content = _bytes_of(cell)
                    if content is not None:
                        fields[column] = Picture(path, hashlib.sha256(content).hexdigest(), group, row, column)
                yield fields
                row += 1


def file_picture(path: str, beside: Path) -> Picture:
    """The picture in a file that a row names, relative to the row's own file.

    Raises `DataError`: where the name leads out of the data set's folder.
    """
    root = Path(os.path.abspath(beside.parent))  # noqa: PTH100 - links that the user set inside the folder are followed
    file = Path(os.path.normpath(root / path))
    if not file.is_relative_to(root) and not file.is_relative_to(root.parent):
        raise DataError(f"{beside}: the picture {path!r} lies outside the data set's folder")
    if not file.is_file():
        return Picture(file, "missing")
    return Picture(file, hashlib.sha256(file.read_bytes()).hexdigest())


def pictures_of(document: Mapping[str, Any], row: Mapping[str, Any]) -> tuple[Picture, ...]:
    """The pictures that a document's `images` names, in their order, from the row that it was made of.

    Raises `ValueError`: where a named column holds none.
    """
    found = []
    for column in document.get("images") or ():
        cell = row.get(column)
        if isinstance(cell, Picture):
            found.append(cell)
        elif isinstance(cell, Mapping) and isinstance(cell.get("path"), str):
            found.append(file_picture(cell["path"], row["_file"]))
        elif isinstance(cell, str) and Path(cell).suffix.lower() in _SUFFIXES:
            found.append(file_picture(cell, row["_file"]))
        else:
            raise ValueError(f"has no picture in column {column!r}")
    return tuple(found)


def parts_of(text: str, count: int) -> list[dict[str, Any]]:
    """A text with marks `<image 2>` as content parts, in reading order: text and `image_ref`.

    Where a picture is marked first, the text says `[image 2]` and the picture follows; later marks are the words alone,
    so every picture is sent once. Pictures without a mark come first. A mark without a picture stays as words.
    """
    shown = {int(number) for number in _MARK.findall(text)} & set(range(1, count + 1))
    parts: list[dict[str, Any]] = [_ref(n) for n in range(1, count + 1) if n not in shown]
    for place, piece in enumerate(_MARK.split(text)):
        if place % 2 == 0:
            _add_text(parts, piece)
            continue
        _add_text(parts, f"[image {piece}]")
        if int(piece) in shown:
            shown.remove(int(piece))
            parts.append(_ref(int(piece)))
    return parts


def _ref(number: int) -> dict[str, Any]:
    return {"type": "image_ref", "index": number - 1}


def _add_text(parts: list[dict[str, Any]], text: str) -> None:
    if parts and parts[-1]["type"] == "text":
        parts[-1] = {"type": "text", "text": parts[-1]["text"] + text}
    elif text:
        parts.append({"type": "text", "text": text})


def pixel_limit(settings: Mapping[str, Any]) -> int | None:
    """The suite setting `max_pixels`: larger pictures are refused, never resized; None without it.

    Raises `SuiteError`: where it is no positive whole number.
    """
    limit = settings.get("max_pixels")
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise SuiteError(f"settings.max_pixels: {limit!r} is no number of pixels, such as 4000000")
    return limit


def cluster_of(document: Mapping[str, Any], field: str | None) -> str | None:
    """The cluster of a document by its suite's `cluster:`; `pictures` means the very bytes, under whatever name."""
    if field is None:
        return None
    shared = document[field]
    return digest([picture.digest for picture in shared])[:16] if field == "pictures" else str(shared)


def visuals(document: Mapping[str, Any]) -> list[Any]:
    """`doc_to_image` for plain lm-eval: the decoded pictures of a document."""
    import io

    from PIL import Image

    return [Image.open(io.BytesIO(picture.load())).convert("RGB") for picture in document["pictures"]]
