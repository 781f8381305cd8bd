"""Two text recognisers, Tesseract and RapidOCR, and what `--degrade` does to a picture before they read it.

They share no code and no weights, so that two servers around them are a genuine reference and candidate pair whose
answers differ on hard pictures. Both run on two CPU cores and give the same text for the same pixels.
"""

from __future__ import annotations

import importlib.util
import io
import os
import shutil
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from evalkit.errors import ConfigError, EndpointError, LaunchError

if TYPE_CHECKING:
    from PIL import Image


ENGINES: Final = ("tesseract", "rapidocr")
_TIMEOUT_SECONDS: Final = 120.0
_RAPIDOCR: Final = "pip install 'flagos-evalkit[ocr]' (and libgl1 on a bare Debian)"


class Engine(Protocol):
    """Reads a picture. `name` says which recogniser and version it is; `read` may be called from several threads."""

    name: str

    def read(self, picture: Image.Image) -> str:
        """The text in an RGB picture, lines in reading order, "" where it finds none."""
        ...


@dataclass(frozen=True, slots=True)
class Degrade:
    """Damage done to every picture: `shrink` in (0, 1] scales both sides, `jpeg` in 1 to 95 re-encodes."""

    shrink: float = 1.0
    jpeg: int | None = None

    @classmethod
    def parse(cls, text: str) -> Degrade:
        """Read "shrink:0.3", "jpeg:20" or both, joined by a comma.

        Raises:
            ConfigError: another word, or a value out of range.
        """
        shrink, jpeg = 1.0, None
        for part in filter(None, text.split(",")):
            kind, _, value = part.strip().partition(":")
            try:
                if kind == "shrink":
                    shrink = float(value)
                elif kind == "jpeg":
                    jpeg = int(value)
                else:
                    raise ConfigError(f"--degrade {part!r}: use shrink:FACTOR, jpeg:QUALITY or both with a comma")
            except ValueError as error:
                raise ConfigError(f"--degrade {part!r}: {value!r} is no number") from error
        if not 0 < shrink <= 1 or not (jpeg is None or 1 <= jpeg <= 95):
            raise ConfigError(f"--degrade {text!r}: shrink lies in (0, 1] and jpeg in 1 to 95")
        return cls(shrink, jpeg)

    def apply(self, picture: Image.Image) -> Image.Image:
        """Shrink first, then JPEG, as a careless proxy would; the same pixels in give the same pixels out."""
        from PIL import Image

        if self.shrink < 1:
            size = (max(1, round(picture.width * self.shrink)), max(1, round(picture.height * self.shrink)))
            picture = picture.resize(size, Image.Resampling.BICUBIC)
        if self.jpeg is not None:
            coded = io.BytesIO()
            picture.save(coded, "JPEG", quality=self.jpeg)
            picture = Image.open(io.BytesIO(coded.getvalue())).convert("RGB")
        return picture


class Tesseract:
    """The Tesseract program, one process a picture, one thread each; pages are read as one block of text."""

    def __init__(self, language: str = "eng") -> None:
        program = shutil.which("tesseract")
        if program is None:
            raise LaunchError(
                "engine tesseract: the program is not installed; on Debian: apt-get install tesseract-ocr"
            )
        self._program = program
        known = self._run("--list-langs").split()[1:]
        missing = [part for part in language.split("+") if part not in known]
        if missing:
            package = missing[0].replace("_", "-")
            raise LaunchError(
                f"language {language}: Tesseract has no data for {missing[0]!r}; on Debian: "
                f"apt-get install tesseract-ocr-{package}"
            )
        self._language = language
        self.name = self._run("--version").splitlines()[0].replace(" ", "-") + f"-{language}"

    def read(self, picture: Image.Image) -> str:
        """The recognised text.

        Raises:
            EndpointError: Tesseract fails or takes longer than two minutes.
        """
        # PNM costs nothing to write; Tesseract warns about the missing resolution on stderr, which is not read.
        coded = io.BytesIO()
        picture.save(coded, "PPM")
        return self._run("stdin", "stdout", "--psm", "6", "-l", self._language, source=coded.getvalue()).strip()

    def _run(self, *arguments: str, source: bytes = b"") -> str:
        try:
            done = subprocess.run(  # noqa: S603 - a program found on PATH, no shell, the picture comes on stdin
                [self._program, *arguments],
                input=source,
                capture_output=True,
                timeout=_TIMEOUT_SECONDS,
                check=True,
                env={**os.environ, "OMP_THREAD_LIMIT": "1"},
            )
        except subprocess.CalledProcessError as error:
            said = error.stderr.decode(errors="replace").strip().splitlines()
            raise EndpointError(f"tesseract ended with code {error.returncode}: {said[-1] if said else ''}") from error
        except (OSError, subprocess.TimeoutExpired) as error:
            raise EndpointError(f"tesseract did not read a picture: {error}") from error
        return done.stdout.decode(errors="replace")


class RapidOcr:
    """PP-OCR (detection and recognition networks) under onnxruntime; its models lie in the package itself."""

    def __init__(self) -> None:
        try:
            from importlib.metadata import version

            from rapidocr_onnxruntime import RapidOCR
        except ImportError as error:
            raise LaunchError(f"engine rapidocr: {error}; {_RAPIDOCR}") from error
        # Left to itself it enlarges every small picture to 736 pixels a side: a hundred times slower, and worse.
        self._engine: Any = RapidOCR(
            det_limit_type="max", det_limit_side_len=960, intra_op_num_threads=1, inter_op_num_threads=1
        )
        self._lock = threading.Lock()  # the engine keeps the scaling of the picture at hand in its own fields
        self.name = f"rapidocr-onnxruntime-{version('rapidocr-onnxruntime')}"

    def read(self, picture: Image.Image) -> str:
        """The recognised text; boxes that stand beside each other make one line."""
        import numpy as np

        blue_green_red = np.ascontiguousarray(np.asarray(picture)[:, :, ::-1])
        with self._lock:
            found, _seconds = self._engine(blue_green_red)
        return "\n".join(_lines([(box, str(text)) for box, text, _score in found or ()]))


def check_engine(name: str, language: str = "eng") -> None:
    """Says what is missing for an engine, without loading its networks.

    Raises:
        LaunchError: the program, the package or its language data are not installed.
    """
    if name == "tesseract":
        Tesseract(language)
    elif importlib.util.find_spec("rapidocr_onnxruntime") is None:
        raise LaunchError(f"engine rapidocr: its package is not installed: {_RAPIDOCR}")


def load_engine(name: str, language: str = "eng") -> Engine:
    """Build the engine called `name`; `language` is Tesseract's (several with "+"), RapidOCR reads Chinese and English.

    Raises:
        LaunchError: the program, the package or its language data are not installed.
        ConfigError: there is no such engine, or it has no choice of language.
    """
    if name == "tesseract":
        return Tesseract(language)
    if name == "rapidocr":
        if language != "eng":
            raise ConfigError("--language: rapidocr reads Chinese and English together; leave it out")
        return RapidOcr()
    raise ConfigError(f"--engine {name!r}: use {' or '.join(ENGINES)}")


def _lines(boxes: Sequence[tuple[Sequence[Sequence[float]], str]]) -> list[str]:
    """Texts of boxes (four corners each) as lines from top to bottom, each from left to right."""
    placed = []
    for corners, text in boxes:
        ys = [corner[1] for corner in corners]
        placed.append((sum(ys) / len(ys), max(ys) - min(ys), min(corner[0] for corner in corners), text))
    placed.sort(key=lambda box: (box[0], box[2]))
    lines: list[list[tuple[float, float, float, str]]] = []
    for box in placed:
        # The same line: the centres are closer than half a letter's height.
        if lines and abs(box[0] - lines[-1][0][0]) < 0.5 * min(box[1], lines[-1][0][1]):
            lines[-1].append(box)
        else:
            lines.append([box])
    return [" ".join(box[3] for box in sorted(line, key=lambda box: box[2])) for line in lines]
