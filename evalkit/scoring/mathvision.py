r"""MathVision (Wang et al., NeurIPS 2024): competition mathematics on one picture, five options or an open result.

Its rows as documents, and their scorer. Where a reply has a box, its last box alone counts: a letter, an option's own
text or value, or the result; a letter that is announced behind it comes before. Without one a marker, then the last
line. Results must be equal: numbers at the truth's own decimals, all else by value (math-verify). Nothing is rounded to
two decimals and nothing is looked for inside a longer text, as other graders do, to whom 0 is 0.0005 and 48 is 4.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from evalkit.errors import DataError
from evalkit.model import FinalText, Score, Status
from evalkit.resources import Patterns
from evalkit.scoring.answers import choice, letters, reply
from evalkit.scoring.answers.choice import Options, option_of, truth_of, without_lists
from evalkit.scoring.answers.expression import LONGEST, by_value, extract, spelled_alike
from evalkit.scoring.answers.number import equal, whole_number
from evalkit.scoring.answers.short import Given, answer_part, number_given
from evalkit.scoring.registry import name_of, required
from evalkit.scoring.rows import LETTERS, Document, Row, Settings, by_row, columns_of, letter_of, question_of, text_of

VERSION: Final = 1

_RE: Final = Patterns("mathvision")


@by_row
def mathvision(row: Row, _settings: Settings) -> Document:
    r"""MathVision: `id, type ("choice", "open"), question, choices, options, answer, images, level, subject`.

    Damaged answers are mended and listed under `mended`: a TeX command whose backslash had become a control
    character, units in braces (`69{degrees}`), and blanks at the ends.
    """
    choices = [str(option).strip() for option in row.get("options") or ()]
    given = text_of(row, "answer")
    answer = re.sub(r"\{(?:square)?(?:degrees|inches)\}", "", re.sub(r"\x0c(?=[a-z])", r"\\f", given)).strip()
    question = text_of(row, "question").strip()
    # One picture an item; several marks name parts of it, so the picture goes in front and they stay words.
    only = len(set(_RE.mark.findall(question))) == 1
    question = _RE.mark.sub("<image 1>" if only else r"[figure \1]", question)
    return {
        "id": text_of(row, "id"),
        "type": "choice" if choices else "open",
        **question_of(question, choices, letter_of(answer, choices) if choices else answer),
        "images": columns_of(row, r"decoded_image()") or columns_of(row, r"image()"),
        "level": str(row.get("level")),
        "subject": text_of(row, "subject"),
        "mended": given if given != answer else "",
    }


@reply.of_first_turn
def score(doc: Mapping[str, Any], final: FinalText) -> Score:
    """Score a reply: 1 for the right option or an equal result, else 0.

    `doc` has "type" ("choice" or "open"), for a choice "choices" (texts), and "answer" (a letter, or LaTeX). A
    comparison by value that does not end has no verdict (GRADE_ERROR, value None).

    Raises `DataError`: the document lacks its options or its answer, or is of an unknown type.
    """
    kind = required(doc, "type")
    if kind == "choice":
        return _score_choice(doc, final)
    if kind != "open":
        raise DataError(f"{name_of(doc)}: 'type' must be 'choice' or 'open', not {kind!r:.80}")
    truth = _cleaned(str(required(doc, "answer")))
    found = _open_answer(final)
    if found is None or (final.truncated and not found.strong):
        return reply.without_answer(final, final.text)
    return _flagged(_same(truth, _cleaned(found.text), final), strong=found.strong)


def _score_choice(doc: Mapping[str, Any], final: FinalText) -> Score:
    options = Options.of(doc)
    (truth,) = truth_of(doc, options)
    choices = [str(choice) for choice in doc["choices"]]
    plain = reply.without_markup(reply.for_matching(final.text))
    bare = without_lists(plain, options)
    if bare != plain:
        final = replace(final, text=bare)
    boxed = reply.filled_boxes(reply.for_maths(final.text), midway=final.midway)
    if boxed and not _lettered_after_boxes(bare, options):
        return _lettered(_boxed_letters(boxed[-1], options, choices), truth, final, boxed[-1])
    read = letters.score(doc, final)
    if read.status is not Status.NO_ANSWER:
        return read
    # No letter and no option's text: perhaps an option's value, "the answer is 3.0" for "$3$".
    found = _open_answer(final)
    if found is None or (final.truncated and not found.strong):
        return read
    letter = _value_letter(found.text, choices)
    start, _ = reply.last_line(bare)
    listed = not found.strong and option_of(reply.last_line(bare[:start])[1], options)
    if letter is None or listed:
        return read
    return _flagged(_lettered(letter, truth, final, found.text), strong=found.strong)


def _lettered_after_boxes(text: str, options: Options) -> bool:
    """Whether `text` goes on, behind its last box, to announce a letter: the question asks for one."""
    found = choice.extract(text, options)
    return found.anchor == "P1" and found.start >= max(box.end for box in reply.boxes(text) or [reply.Box("", 0, 0)])


def _boxed_letters(content: str, options: Options, choices: Sequence[str]) -> str | None:
    """The letters that the content of a box gives: one, or several (which is no answer); None for no option."""
    plain = _RE.gap.sub(" ", reply.without_wrappers(reply.without_markup(content))).strip(" {}")
    several = _RE.several.fullmatch(plain)
    if several and set(named := re.findall("[A-Z]", plain)) <= set(options.letters) and not options.letter_of(plain):
        return "".join(named)
    if by_text := options.letter_of(plain):
        return by_text
    found = _RE.boxed_letter.match(plain)
    if found and (letter := found["bracketed"] or found["bare"]) in options.letters:
        return str(letter)
    if value := choice.value_in_box(reply.without_markup(reply.for_matching(content)), options):
        return "".join(value.letters)
    # "2+2\\sqrt{7} = (A)", or the letter in a box inside the box.
    bracketed = {letter for letter in re.findall(r"\(([A-Z])\)", plain) if letter in options.letters}
    return bracketed.pop() if len(bracketed) == 1 else _value_letter(content, choices)


def _value_letter(answer: str, choices: Sequence[str]) -> str | None:
    """The letter of the one option that has the value of `answer`."""
    if len(answer) > LONGEST:
        return None
    given = _cleaned(answer)
    same = [
        letter
        for letter, choice in zip(LETTERS, choices, strict=False)
        if spelled_alike(reply.for_maths(choice), answer) or _same(_cleaned(choice), given, FinalText("")).value == 1
    ]
    return same[0] if len(same) == 1 else None


def _lettered(found: str | None, truth: str, final: FinalText, answer: str) -> Score:
    score = reply.scored(found == truth, ",".join(found) if found else answer[:LONGEST], final)
    return replace(score, reason="multiple") if found and len(found) > 1 and not final.truncated else score


def _open_answer(final: FinalText) -> Given | None:
    """The result that a reply gives."""
    midway = final.midway
    text = reply.for_maths(final.text)
    announced = extract(text, midway=midway)
    if announced is not None:
        return Given(announced, strong=True)
    part = answer_part(final.text, midway=midway)
    formula = _RE.formula.search(text.rstrip().rpartition("\n")[2])
    return replace(part, text=formula[1]) if part and formula and _RE.prose.search(part.text) else part


def _same(truth: str, answer: str, final: FinalText) -> Score:
    """The score of one result against another, both cleaned; numbers exactly, all else by value."""
    wanted = whole_number(truth)
    given = whole_number(answer)
    if given is None and wanted is not None and _RE.prose.search(answer):
        given = number_given(answer)
    if wanted and given:
        value = float(equal(given, wanted, round_fraction=False))
    elif spelled_alike(truth, answer):
        value = 1.0
    elif _RE.prose.search(answer) or not answer:
        value = 0.0
    else:
        return by_value(truth, answer, final)
    return reply.scored(value, answer[:LONGEST], final)


def _cleaned(text: str) -> str:
    r"""A result without wrappers, dollars, a leading `x =` and mixed numbers, which become fractions."""
    text = reply.without_wrappers(_RE.unit_in_roman.sub("", reply.for_maths(text))).replace("\\!", "")
    text = _RE.gap.sub(" ", text).strip()
    text = _RE.name.sub("", text, count=1) if _RE.name.match(text) else text

    def improper(found: re.Match[str]) -> str:
        whole, above, below = (int(part) for part in found.groups())
        return rf"\frac{{{whole * below + above}}}{{{below}}}" if above < below else found[0]

    return _RE.mixed.sub(improper, text).strip().rstrip(".").strip()


def _flagged(found: Score, *, strong: bool) -> Score:
    return found if strong else replace(found, flags=(*found.flags, "weak_anchor"))
