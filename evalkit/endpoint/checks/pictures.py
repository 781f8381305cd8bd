"""Are pictures accepted, and read? A word that is drawn must come back."""

from __future__ import annotations

import hashlib
import io
import random
from typing import Final

from evalkit.endpoint.checks.base import Finding, Patient, Severity, failed, said, shown
from evalkit.model import Failure, ImageRef, Prompt

WORDS: Final = ("HARBOUR", "LANTERN", "PYRAMID", "ORCHARD", "VOLCANO", "CHIMNEY", "BLANKET", "COMPASS")
TOKENS: Final = 256
_SIZE: Final = (640, 200)


async def check_pictures(patient: Patient) -> list[Finding]:
    """One question with a picture. Without a suite that sends pictures, a server that takes none is only noted."""
    word = f"{random.choice(WORDS)} {random.randint(10, 99)}"  # noqa: S311 - only not to be guessed
    png = drawn(word)
    image = ImageRef(hashlib.sha256(png).hexdigest(), lambda: png)
    content = [
        {"type": "image_ref", "index": 0},
        {"type": "text", "text": "Which word and which number are written in this picture? Answer with them only."},
    ]
    prompt = Prompt(digest="", messages=({"role": "user", "content": content},), images=(image,))
    reply = await patient.chat(prompt, max_tokens=TOKENS)
    wanted = patient.subject.wants_pictures
    if isinstance(reply, Failure):
        patient.facts["pictures"] = "refused"
        if not wanted:
            return [Finding("pictures", Severity.NOTE, "takes no pictures; no suite of the configuration sends any")]
        return [failed("pictures", reply, "a suite of the configuration sends pictures")]
    text = said(reply).upper()
    if all(part in text for part in word.split()):
        patient.facts["pictures"] = "read"
        return [Finding("pictures", Severity.OK, f"a drawn word was read: {word}")]
    patient.facts["pictures"] = "not read"
    return [
        Finding(
            "pictures",
            Severity.PROBLEM if wanted else Severity.NOTE,
            f"a picture is accepted and not read: {word!r} came back as {shown(said(reply))}",
            "a text model's server may drop pictures without a word; questions about them are then guesses",
            "serve a vision-language model, and see that its image processor is loaded",
        )
    ]


def drawn(word: str) -> bytes:
    """A PNG with the word in large black letters on white."""
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("RGB", _SIZE, "white")
    font = ImageFont.load_default(size=84)
    ImageDraw.Draw(picture).text((_SIZE[0] / 2, _SIZE[1] / 2), word, fill="black", font=font, anchor="mm")
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()
