"""Any reason of the catalogue, with values that its places take; and a reason as the sentence that people read."""

import json
import tomllib

from hypothesis import strategies as st

from evalkit import codec
from evalkit.model import Interval, Reason, Verdict
from evalkit.render.words import _FORMATS, _place, _sentence, say
from evalkit.resources import data_folder

CODES = tuple(tomllib.loads((data_folder("reports") / "reasons.toml").read_text(encoding="utf-8")))
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
NUMBER = st.floats(-1e15, 1e15) | st.integers(-(2**53), 2**53)
INTERVALS = st.tuples(*[st.floats(-1e15, 1e15)] * 3).map(lambda t: Interval(min(t[:2]), max(t[:2]), t[2]))
WORDS = {"verdict": st.sampled_from([*Verdict, "another"]), "in": TEXT | st.sampled_from(["reference", "DEGRADED"])}


def places(code, language="en"):
    """The formats of each place of a sentence, by name; those that a format looks at beside its own included."""
    found = {}
    for part in _sentence(code, language):
        if part.startswith("{"):
            form, (name, *_more), _group = _place(part)
            found.setdefault(name, set()).add(form)
    return found


def beside(code):
    """The types of the values that a format looks at beside its own, by name."""
    found = {}
    for part in _sentence(code, "en"):
        if part.startswith("{"):
            form, (_name, *more), _group = _place(part)
            found.update(zip(more, _FORMATS.get(form, ())[2:], strict=False))
    return found


def needed(code):
    """The names of the places that are always told."""
    depth, found = 0, set()
    for part in _sentence(code, "en"):
        depth += (part == "<") - (part == ">")
        if part.startswith("{") and depth == 0:
            found.update(_place(part)[1])
    return found


def value(form, depth):
    """A value that a place of this format takes."""
    kinds = _FORMATS[form][0] if form in _FORMATS else (int, float)
    if form in WORDS:
        return WORDS[form].map(str)
    if kinds == (Interval,):
        return INTERVALS
    if kinds == (tuple,):
        inner = TEXT if form == "names" else reasons(depth + 1)
        return st.lists(inner, max_size=3).map(tuple)
    if str in kinds:
        return TEXT | NUMBER | reasons(depth + 1) if Reason in kinds else TEXT
    return NUMBER


@st.composite
def reasons(draw, depth=0):
    """Any reason; deep ones end in foreign texts."""
    code = "said" if depth > 2 else draw(st.sampled_from(CODES))
    values = {}
    for name, forms in places(code).items():
        # Of several formats of a place the one that takes least: a margin is a number wherever it stands.
        form = min(forms, key=lambda form: len(_FORMATS[form][0]) if form in _FORMATS else 2)
        if name in needed(code) or draw(st.booleans()):
            values[name] = draw(TEXT if depth > 2 else value(form, depth))
    for name, kind in beside(code).items():
        if name in needed(code) and not isinstance(values.get(name), kind):
            values[name] = draw(INTERVALS if kind is Interval else NUMBER)
        if name in values and not isinstance(values[name], kind):
            values[name] = draw(INTERVALS if kind is Interval else NUMBER)
    if not all(name in values for name in beside(code)):
        values = {name: one for name, one in values.items() if name in needed(code)}
    return Reason(code, values)


def told(reasons):
    """The sentences of some reasons, in English."""
    return [say(reason) for reason in reasons]


def told_in(document):
    """The sentences of the reasons of a JSON document, in English."""
    return told(codec.read(tuple[Reason, ...], json.dumps(document)))
