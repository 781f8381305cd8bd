"""Model cards: house styles, languages, what may not be published, and a README edited in place."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import UsageError
from evalkit.model import Reason, Verdict
from evalkit.publish.cards import (
    BEGIN,
    END,
    CardSubject,
    card,
    into,
    load_style,
    score_text,
    style_names,
    unpublishable,
)
from evalkit.render.words import LANGUAGES

SUBJECT = CardSubject("ascend")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("style", style_names())
def test_every_style_golden(example, golden, style, language):
    golden(f"card-{style}.{language}.md", card(example.clean(), load_style(style), SUBJECT, language=language))


@pytest.mark.parametrize(
    ("style", "header", "row"),
    [
        ("flagrelease-2025", "| Metrics | Acme-7B-Instruct-H100-CUDA | Acme-7B-Instruct-FlagOS-Ascend |", "| GPQA-Diamond_0fewshot_@avg8 | 0.704 | 0.701 |"),
        ("flagrelease-2025-percent", "| Metrics | Acme-7B-Instruct-H100-CUDA | Acme-7B-Instruct-FlagOS-Ascend |", "| GPQA-Diamond (Avg@8) | 70.39 | 70.14 |"),
        ("flagrelease-2026", "| Metrics | Acme-7B-Instruct-Nvidia-Origin | Acme-7B-Instruct-Ascend-FlagOS |", "| GPQA_Diamond | 70.39 | 70.14 |"),
        ("flagrelease-2026-fraction", "| Metrics | Acme-7B-Instruct-Nvidia-Origin | Acme-7B-Instruct-Ascend-FlagOS |", "| gpqa_diamond_generative_cot | 0.7039 | 0.7014 |"),
        ("evalkit", "| Benchmark | n | k | Acme-7B-Instruct (reference) | Acme-7B-Instruct (ascend, FlagOS) | Difference [90 % interval] | Margin | Verdict |", "| GPQA Diamond | 198 | 8 | 70.4 | 70.1 | -0.3 [-1.5, +0.9] | ±2.0 | ✓ EQUIVALENT |"),
    ],
)  # fmt: skip
def test_house_headers_and_rows(example, style, header, row):
    lines = card(example.clean(), load_style(style), SUBJECT).splitlines()
    assert lines[0] == header
    assert row in lines


def test_provenance_says_what_a_figure_needs(example):
    text = card(example.clean(), load_style("flagrelease-2026"), SUBJECT)
    for part in (
        "`reference-20260704-9f31c2`", "`candidate-20260704-9f31c2`", "evalkit 0.1.0", "**EQUIVALENT**", "n = 198", "k = 8",
        "-0.3 [-1.5, +0.9] (90 % interval, points)", "margin ±2.0", "flaggems 5.3.5", "temperature 0.6",
    ):  # fmt: skip
        assert part in text, part


def test_chinese_uses_full_width_punctuation(example):
    text = card(example.clean(), load_style("flagrelease-2026"), SUBJECT, language="zh")
    prose = text[text.index("由 evalkit") :]
    for mark in "：、；。（）":
        assert mark in prose
    assert not [i for i, char in enumerate(prose) if char in ",;:" and ord(prose[i - 1]) > 0x2E80]


def test_the_model_and_the_chip_are_spelled_as_asked(example):
    header = card(example.clean(), load_style("flagrelease-2026"), CardSubject("NewChip9", "Acme/Seven")).splitlines()[
        0
    ]
    assert header == "| Metrics | Acme/Seven-Nvidia-Origin | Acme/Seven-NewChip9-FlagOS |"
    named = replace(example.clean(), reference=example.identity("r", model="org/Deep-1"))
    assert "| Deep-1-Nvidia-Origin |" in card(named, load_style("flagrelease-2026"), SUBJECT)


def test_what_is_invalid_or_unfinished_makes_no_card(example):
    whole = example.comparison()
    with pytest.raises(UsageError, match=r"makes no card \(INVALID: .*; incomplete: .*give --allow-invalid"):
        card(whole, load_style("flagrelease-2026"), SUBJECT)
    suites = example.clean().suites
    unfinished = replace(suites[0], candidate=replace(suites[0].candidate, counts={"scored": 1500, "not_asked": 84}))
    with pytest.raises(UsageError, match=r"\(incomplete: GPQA Diamond\)"):
        card(replace(example.clean(), suites=(unfinished,)), load_style("flagrelease-2026"), SUBJECT)
    with pytest.raises(UsageError, match=r"\(INVALID\)"):
        card(replace(example.clean(), verdict=Verdict.INVALID), load_style("flagrelease-2026"), SUBJECT)
    with pytest.raises(UsageError, match=r"\(incomplete\)"):
        card(replace(example.clean(), suites=()), load_style("flagrelease-2026"), SUBJECT)
    assert not unpublishable(example.clean(), "en")


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_invalid_card_says_so_in_the_table(comparison, golden, language):
    text = card(comparison, load_style("flagrelease-2026"), SUBJECT, language=language, allow=["invalid"])
    golden(f"card-invalid.{language}.md", text)
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert "INVALID" in next(line for line in table if line.startswith("| LiveBench_New | 50.10 | - |"))
    assert len({line.replace("\\|", "").count("|") for line in table}) == 1


def test_a_suite_that_is_not_equivalent_brings_the_verdict_column(example):
    degraded = next(suite for suite in example.comparison().suites if suite.verdict is Verdict.DEGRADED)
    made = replace(example.clean(), suites=(*example.clean().suites, degraded), verdict=Verdict.DEGRADED)
    text = card(made, load_style("flagrelease-2026"), SUBJECT)
    assert "| MUSR_Generative | 64.42 | 57.31 | ▼ DEGRADED |" in text
    assert "candidate 3012 of 3024 samples" in text.lower()


def rows_of(text):
    return [line for line in text.splitlines() if line.startswith("|")]


def test_the_table_ends_with_the_overall_row_where_the_style_has_one(example, tmp_path):
    made = example.clean()
    row = "| Overall (mean of 2 suites) |  |  | 68.6 | 68.7 | +0.1 [-0.6, +0.7] | ±1.5 | ✓ EQUIVALENT |"
    assert rows_of(card(made, load_style("evalkit"), SUBJECT))[-1] == row
    assert rows_of(card(replace(made, macro=None), load_style("evalkit"), SUBJECT))[-1].startswith("| MMLU")
    assert not [name for name in style_names() if name != "evalkit" and load_style(name).overall]
    path = tmp_path / "ours.yaml"
    path.write_text("extends: flagrelease-2026\noverall: {en: 'Average of {n}'}\n")
    house = load_style(str(path))
    assert rows_of(card(made, house, SUBJECT))[-1] == "| Average of 2 | 68.65 | 68.73 |"
    assert rows_of(card(made, house, SUBJECT, language="zh"))[-1] == "| 总体（2 个评测集的平均） | 68.65 | 68.73 |"


@pytest.mark.parametrize("verdict", [Verdict.DEGRADED, Verdict.INCONCLUSIVE])
def test_the_overall_row_has_its_own_verdict(example, verdict):
    whole = example.clean()
    made = replace(whole, verdict=verdict, macro=replace(whole.macro, verdict=verdict))
    rows = rows_of(card(made, load_style("evalkit"), SUBJECT))
    assert [verdict.value in row for row in rows] == [False] * (len(rows) - 1) + [True]


def test_scores_are_rounded_from_the_exact_mean():
    percent, fraction = load_style("flagrelease-2026"), load_style("flagrelease-2025")
    assert score_text(2 / 3, percent) == "66.67"
    assert score_text(2 / 3, fraction) == "0.667"
    assert score_text(0.0, percent) == "0.00"
    assert score_text(1.0, fraction) == "1.000"
    assert score_text(None, fraction) == "-"
    assert score_text(0.5, percent.model_copy(update={"percent_sign": True})) == "50.00%"


def test_a_projects_own_style_extends_a_house_style(tmp_path, example):
    path = tmp_path / "ours.yaml"
    path.write_text('extends: flagrelease-2026\ntitle: Ours\ndecimals: 1\nlabels: {gpqa_diamond: "Diamonds @{k}"}\n')
    style = load_style(str(path))
    assert style.labels["musr"] == "MUSR_Generative"
    assert "| Diamonds @8 | 70.4 | 70.1 |" in card(example.clean(), style, SUBJECT)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("- a\n", "a style is a mapping"),
        ("a: [\n", "line 2: this is not YAML"),
        ("extends: flagrelease-2026\ndecimals: 9\n", "ours.yaml:2: decimals: must be at most 6, not 9"),
        ("extends: flagrelease-2026\ncolour: red\n", "ours.yaml:2: unknown key 'colour'"),
        (
            "extends: flagrelease-2026\nreference: '{model}-{k}'\n",
            r"reference: \{k\} is not known here, only \{chip\}, \{model\}",
        ),
        ("extends: flagrelease-2026\nlabels: {a: '{model}'}\n", r"labels: \{model\} is not known here, only \{k\}"),
        ("extends: flagrelease-2026\noverall: {en: 'Mean, {k}'}\n", r"overall: \{k\} is not known here, only \{n\}"),
        ("extends: flagrelease-2062\n", "did you mean 'flagrelease-2026'?"),
        ("extends: ours.yaml\n", "in a circle"),
        ("extends: none.yaml\n", "there is no style file"),
        ("title: x\n", "ours.yaml: columns is missing"),
        ("extends: flagrelease-2026\ndecimals: many\n", "ours.yaml:2: decimals: must be an integer, not 'many'"),
    ],
)
def test_a_wrong_style_is_one_sentence(tmp_path, text, sentence):
    path = tmp_path / "ours.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=sentence):
        load_style(str(path))


def test_an_unknown_style_names_the_known_ones():
    with pytest.raises(UsageError, match=r"did you mean 'flagrelease-2026'"):
        load_style("flagrelaese-2026")


README = "\ufeff---\nlicense: mit\n---\n# Acme  \n\n{begin}{old}{end}\n\ttail without newline"


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("old", ["", "\nold table\n\n"])
def test_into_keeps_every_other_byte_and_is_idempotent(example, newline, old):
    text = README.format(begin=BEGIN + "\n", old=old, end=END)
    file = text.replace("\n", newline).encode()
    made = card(example.clean(), load_style("flagrelease-2026"), SUBJECT)
    once = into(file, made)
    assert into(once, made) == once
    start, stop = file.index(BEGIN.encode()) + len(BEGIN), file.index(END.encode())
    assert once.startswith(file[:start])
    assert once.endswith(file[stop:])
    assert once.count(b"\n") == once.count(newline.encode())
    assert b"| GPQA_Diamond | 70.39 | 70.14 |" + newline.encode() in once
    other = into(once, "shorter")
    assert b"GPQA_Diamond" not in other
    assert into(other, made) == once


@given(
    st.text(st.characters(exclude_categories=("Cs",)), max_size=40),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=40),
)
def test_into_keeps_any_surroundings(before, after):
    file = f"{before}\n{BEGIN}\nx\n{END}\n{after}".encode()
    out = into(file, "card")
    assert out == f"{before}\n{BEGIN}\n\ncard\n\n{END}\n{after}".encode()


@pytest.mark.parametrize(
    "text",
    ["", BEGIN, END, f"{END}\n{BEGIN}\n", f"{BEGIN}\n{BEGIN}\n{END}\n", f"text {BEGIN}\n{END}\n", f"{BEGIN} {END}"],
)
def test_markers_must_be_there_once_and_in_order(text):
    with pytest.raises(UsageError, match="put each once on a line of its own"):
        into(text.encode(), "card")


def test_markers_side_by_side_and_other_encodings():
    assert into(f"{BEGIN}\n{END}".encode(), "card").decode() == f"{BEGIN}\n\ncard\n\n{END}"
    with pytest.raises(UsageError, match="not UTF-8"):
        into(f"中文\n{BEGIN}\n{END}\n".encode("gb18030"), "card")


PART = Reason("note.part", {"n": 30, "all": 198})
CATEGORIES = Reason("note.categories", {"n": 5, "all": 6, "tasks": ("coding",), "why": "not allowed"})


def part(example, *notes):
    """The clean comparison with a first suite of which a part was asked."""
    first, *others = example.clean().suites
    return replace(example.clean(), suites=(replace(first, notes=notes), *others))


@pytest.mark.parametrize("style", style_names())
@pytest.mark.parametrize(
    ("notes", "told", "chinese"),
    [
        ((PART,), "(30 of 198 items)", "（198 道题中的 30 道）"),
        ((CATEGORIES,), "(5 of 6 categories)", "（6 个类别中的 5 个）"),
        (
            (Reason("note.without_task", {"task": "math", "why": "no data"}), PART),
            "(without math, 30 of 198 items)",
            "",
        ),
    ],
)
def test_a_part_of_a_data_set_is_marked_on_its_row_and_makes_no_card_unasked(example, style, notes, told, chinese):
    made, house = part(example, *notes), load_style(style)
    with pytest.raises(UsageError, match=r"makes no card \(GPQA Diamond: .*give --partial"):
        card(made, house, SUBJECT, allow=["invalid"])
    rows = card(made, house, SUBJECT, allow=["partial"]).splitlines()
    assert [told in row for row in rows if row.startswith("| ")][2:] == [
        True,
        *[False] * (len(made.suites) - 1 + bool(house.overall)),
    ]
    assert chinese in card(made, house, SUBJECT, allow=["partial"], language="zh")


def test_a_label_that_names_the_part_says_it_once(example):
    made = part(example, CATEGORIES)
    first = replace(made.suites[0], suite="own", label="Own (5 of 6 categories)")
    text = card(replace(made, suites=(first,)), load_style("evalkit"), SUBJECT, allow=["partial"])
    assert "| Own (5 of 6 categories) |" in text
