"""Draws the 60 pictures of `suites/demo_multimodal/` and writes their questions: run it only to change the suite.

The pictures are kept in the repository, because another version of Pillow or of its font would draw others. They are
small, tilted, pale and noisy, so that a good recogniser reads most of them and every loss of pixels costs some.
"""
# ruff: noqa: INP001, S311 - a script that people run; the chance is seeded and keeps nothing secret

from __future__ import annotations

import json
import random
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

FOLDER = Path(__file__).resolve().parents[2] / "suites" / "demo_multimodal"
EACH = 15
GREYS = 16
WORDS = tuple(
    "anchor basket candle dragon ember falcon garden harbor island jacket kernel ladder marble needle orange pepper "  # noqa: SIM905 - a list of words reads as words
    "quarry ribbon saddle timber umbrella velvet walnut yellow zipper bottle copper donkey engine flower guitar hammer "
    "insect jungle kitten lantern mirror napkin oyster parrot rocket silver tunnel valley window".split()
)
GOODS = ["bread", "milk", "apples", "coffee", "soap", "paper", "rice", "cheese", "tea", "salt"]


def main() -> None:
    """Draw everything anew."""
    chance = random.Random(20)
    pictures = FOLDER / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    rows = []
    for kind, question, make in KINDS:
        for number in range(EACH):
            text, answer = make(chance)
            name = f"{kind.split()[0].lower()}-{number:02}.png"
            drawn(text, chance).save(pictures / name, "PNG", optimize=True)
            row = {"dataset": "demo", "question": question, "question_type": kind, "answer": [answer]}
            rows.append({**row, "image": f"pictures/{name}"})
    lines = (json.dumps(row) + "\n" for row in rows)
    (FOLDER / "demo_multimodal.jsonl").write_text("".join(lines), encoding="utf-8")


def drawn(text: str, chance: random.Random) -> Image.Image:
    """A text on pale, noisy paper, tilted, in a few greys."""
    font = ImageFont.load_default(chance.choice((11, 12, 13, 14, 16, 18)))
    box = ImageDraw.Draw(Image.new("L", (1, 1))).multiline_textbbox((0, 0), text, font=font, spacing=3)
    picture = Image.new("L", (int(box[2]) + 24, int(box[3]) + 24), 235)
    ImageDraw.Draw(picture).multiline_text((12, 10), text, font=font, fill=chance.choice((20, 60, 90, 120)), spacing=3)
    picture = picture.rotate(chance.uniform(-2.5, 2.5), Image.Resampling.BICUBIC, fillcolor=235)
    grain = Image.frombytes("L", picture.size, bytes(chance.choices(range(100, 156), k=picture.width * picture.height)))
    noisy = Image.blend(picture, grain, chance.choice((0.05, 0.15, 0.25)))
    return noisy.quantize(GREYS)


def word(chance: random.Random) -> tuple[str, str]:
    """One word."""
    text = chance.choice(WORDS).upper()
    return text, text


def digits(chance: random.Random) -> tuple[str, str]:
    """Seven digits."""
    text = "".join(chance.choices("0123456789", k=7))
    return text, text


def line(chance: random.Random) -> tuple[str, str]:
    """Four words."""
    text = " ".join(chance.sample(WORDS, 4))
    return text, text


def receipt(chance: random.Random) -> tuple[str, str]:
    """Three goods with prices, and their total, which is the answer."""
    prices = [chance.randrange(105, 995) for _ in range(3)]
    total = f"{sum(prices) / 100:.2f}"
    goods = [f"{name}  {price / 100:.2f}" for name, price in zip(chance.sample(GOODS, 3), prices, strict=True)]
    return "\n".join([*goods, f"total  {total}"]), total


KINDS = (
    ("Regular Text Recognition", "What is written in the picture?", word),
    ("Digit String Recognition", "What is the number in the picture?", digits),
    ("Scene Text-centric VQA", "Which words stand in the picture?", line),
    ("Key Information Extraction", "What is the total of this receipt?", receipt),
)

if __name__ == "__main__":
    main()
