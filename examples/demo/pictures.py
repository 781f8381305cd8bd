"""Makes the pictures of README and docs from the runs of the demonstration: `make pictures` (`make demo` comes first).

docs/pictures/table.svg is what `evalkit compare` prints; report.png and flips.png are the HTML report and its explorer
of changed answers, taken in headless Chromium. Needs chromium and chromedriver (Debian: chromium, chromium-driver).
"""
# ruff: noqa: INP001, T201 - a script that people run

from __future__ import annotations

import argparse
import io
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from rich.console import Console

from evalkit.model import Comparison
from evalkit.publish.archive import read
from evalkit.render.html import report
from evalkit.render.tables import TerminalTable

HERE = Path(__file__).resolve().parent
PICTURES = HERE.parent.parent / "docs" / "pictures"
MOST_BYTES = 300_000
COLUMNS = 100
ONLY_REGRESSED = (
    "const kind = document.getElementById('filter-kind'); kind.value = 'regressed';"
    "kind.dispatchEvent(new Event('change'))"
)
WINDOW = (1180, 1000)


def main() -> int:
    """Makes all pictures and gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=Path, default=HERE / "runs", help="where the demonstration's runs are")
    parser.add_argument("--out", type=Path, default=PICTURES, help="folder of the pictures")
    given = parser.parse_args()
    comparison = read(given.runs / "reference--degraded")
    given.out.mkdir(parents=True, exist_ok=True)
    made = {"table.svg": table(comparison), **pages(comparison)}
    for name, data in made.items():
        (given.out / name).write_bytes(data)
        print(f"{given.out / name}: {len(data) / 1000:.0f} kB")
    return 1 if any(len(data) > MOST_BYTES for data in made.values()) else 0


def table(comparison: Comparison) -> bytes:
    """The printed table as SVG that fetches no font."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(TerminalTable(comparison))
    svg = console.export_svg(title="evalkit compare reference.yaml degraded.yaml", unique_id="evalkit")
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    return svg.replace("Fira Code", "ui-monospace, Menlo, DejaVu Sans Mono").encode()


def pages(comparison: Comparison) -> dict[str, bytes]:
    """Pictures of the HTML report: its beginning, and the explorer of changed answers."""
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        page.write_text(report(comparison), encoding="utf-8")
        browser = chromium()
        try:
            browser.get(page.as_uri())
            beginning = browser.get_screenshot_as_png()
            browser.execute_script(ONLY_REGRESSED)
            explorer = browser.find_element("css selector", "section[aria-labelledby=flips]").screenshot_as_png
        finally:
            browser.quit()
    return {"report.png": smaller(beginning), "flips.png": smaller(explorer)}


def chromium() -> Any:
    """A headless browser, light theme."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    size = ",".join(map(str, WINDOW))
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={size}"):
        options.add_argument(argument)
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))


def smaller(png: bytes) -> bytes:
    """The same picture in fewer bytes."""
    out = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(out, "PNG", optimize=True)
    return out.getvalue()


if __name__ == "__main__":
    sys.exit(main())
