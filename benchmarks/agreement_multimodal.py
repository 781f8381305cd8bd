"""Measures how often the multimodal scorers agree with official judgments on published replies, and why they differ.

    python benchmarks/agreement_multimodal.py DATA [--write docs/agreement-multimodal.md]

DATA holds folders `mm_mmmu_pro_outputs`, `mm_mmmu_val_outputs`, `mm_mathvision`, `mm_blink_outputs`, `mm_ocrbench` and
`mm_tricky_outputs`, in the shape of the publications that their SOURCE.txt names; those that are absent are skipped.
Exits 1 where a disagreement fits no class: it is then a defect here until it is explained.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from agreement import blink, mathvision, mmmu, others
from agreement.report import page, table

SOURCES = {
    "mm_mmmu_pro_outputs": mmmu.pro,
    "mm_mmmu_val_outputs": mmmu.validation,
    "mm_mathvision": mathvision.replies,
    "mm_blink_outputs": blink.replies,
    "mm_ocrbench": others.answer_key,
    "mm_tricky_outputs": others.tricky,
}


def main() -> int:
    """Run all sets that are there; the exit code says whether every disagreement has a class."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("data", type=Path, help="folder with the mm_* folders")
    parser.add_argument("--write", type=Path, help="write the page here")
    options = parser.parse_args()
    there = {options.data / name: compare for name, compare in SOURCES.items() if (options.data / name).is_dir()}
    results = [one for folder, compare in there.items() for one in compare(folder)]
    if not results:
        parser.error(f"{options.data} has none of the folders {', '.join(SOURCES)}")
    print(table(results))
    unclassed = [one for one in results if one.unclassed]
    for one in unclassed:
        print(
            f"unclassed: {one.data_set} {one.file} {one.item}: official {one.official_answer!r} "
            f"({one.official:g}), here {one.score.answer!r} ({one.score.value})"
        )
    if options.write:
        options.write.write_text(page(results), encoding="utf-8")
    return 1 if unclassed else 0


if __name__ == "__main__":
    sys.exit(main())
