"""Reading cards: columns, scales and numbers as people print them, and evalkit's own cards read back."""

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.errors import UsageError
from evalkit.publish.card_check import check_tables
from evalkit.publish.card_parse import model_of, parse_file, parse_markdown, read_cell
from evalkit.publish.cards import (
    CardSubject,
    benchmark_of,
    card,
    chip_of,
    load_style,
    nearest_name,
    score_text,
    style_names,
)
from evalkit.render.words import LANGUAGES

CARD = """---
license: mit
---
# Acme

| Metrics | Acme-7B-Nvidia-Origin | Acme-7B-Metax-FlagOS |
| :-- | --: | --: |
| GPQA_Diamond | **70.20** | 71.21 |
| `musr_generative` | 59.39% | Evaluating |

| Performance | 4k & 1k 64 Concurrent |
| --- | --- |
| Speedup Ratio (NV-flagos / NV-native) | 107.19% |
"""


def test_a_card_of_today():
    (table,) = parse_markdown(CARD, "README.md", "Acme-7B-metax-FlagOS")
    assert (table.line, table.model, table.reference_head) == (6, "acme-7b", "Acme-7B-Nvidia-Origin")
    assert [(row.label, row.line) for row in table.rows] == [("GPQA_Diamond", 8), ("musr_generative", 9)]
    assert table.rows[0].reference.fraction == Decimal("0.702")
    assert table.rows[0].reference.step == Decimal("0.0001")
    assert table.rows[1].reference.scale == "percent sign"
    assert (table.rows[1].candidate.text, table.rows[1].candidate.number) == ("Evaluating", None)


@pytest.mark.parametrize(
    ("head", "model"),
    [
        ("Acme-H100-CUDA", "acme"),
        ("Acme-NV-CUDA", "acme"),
        ("Acme-CUDA", "acme"),
        ("Org/Acme-Nvidia-Origin", "acme"),
        ("Acme-ascend-FlagOS-Origin", "acme"),
        ("Acme-7B (reference)", "acme-7b"),
        ("Acme-FlagOS-H100-CUDA", "acme"),
    ],
)
def test_models_are_named_alike(head, model):
    assert model_of(head) == model


@pytest.mark.parametrize(
    ("text", "number", "scale"),
    [
        ("70.2", "70.2", None),
        (".41", ".41", None),
        ("21.8%", "21.8", "percent sign"),
        ("23/30", "23", "count"),
        ("76.67(±0.67)", "76.67", None),
        ("76.67 ± 0.67", "76.67", None),
        ("-", None, None),
        ("", None, None),
        ("TBD", None, None),
        ("评测中", None, None),
        ("see below", None, None),
        ("1/0", None, None),
        ("1e9", None, None),
        ("∞", None, None),
    ],
)
def test_cells(text, number, scale):
    cell = read_cell(text)
    assert (cell.number, cell.scale) == (None if number is None else Decimal(number), scale)


@given(st.text(max_size=40))
def test_any_cell_and_any_label_can_be_read(text):
    read_cell(text)
    assert benchmark_of(text).key is not None
    parse_markdown(f"| a | b-CUDA | b-FlagOS |\n| - | - | - |\n| {text} | 1 | 2 |\n", "f", "c")


@given(st.text(st.sampled_from("|-:\\`*_[]<> \n#ab1.%/±"), max_size=200))
def test_any_markdown_can_be_read(text):
    check_tables(parse_markdown("| Metrics | a-CUDA | a-FlagOS |\n|-|-|-|\n" + text, "f", "c"))


@pytest.mark.parametrize(
    ("label", "name", "trials"),
    [
        ("AIME_0fewshot_@avg1", "aime", 1),
        ("AIME2024_0fewshot_@avg16/8", "aime24", 16),
        ("GPQA-Diamond (Pass@1)", "gpqa_diamond", 1),
        ("MMLUpro-5shots@avg1", "mmlu_pro", 1),
        ("MUSR_0fewshot_@avg", "musr", None),
        ("MMMU ↑", "mmmu", None),
        ("GPQA Diamond (Generative CoT)", "gpqa_diamond", None),
        ("MMLU (chat, 5-shot)", "mmlu_chat", None),
        ("orcbench_test", None, None),
    ],
)
def test_labels(label, name, trials):
    found = benchmark_of(label)
    assert (found.name, found.trials) == (name, trials)


def test_near_names_variants_and_chips():
    assert nearest_name(benchmark_of("orcbench_test")) == "ocrbench_test"
    assert nearest_name(benchmark_of("zzz")) is None
    assert benchmark_of("Blink-think").identity == ("blink", "think")
    assert benchmark_of("unheard of").identity == ("unheardof", "")
    assert chip_of("Acme-7B-H100-FlagOS") == "nvidia"
    assert chip_of("Acme-7B-FlagOS") is None


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("style", style_names())
def test_evalkits_own_cards_read_back_and_pass(example, tmp_path, style, language):
    house = load_style(style)
    comparison = example.clean()
    folder = tmp_path / "Acme-7B-Instruct-ascend-FlagOS"
    folder.mkdir()
    path = folder / "README.md"
    path.write_text("# Acme\n\n" + card(comparison, house, CardSubject("ascend"), language=language), encoding="utf-8")
    (table,) = parse_file(path)
    assert table.model == "acme-7b-instruct"
    assert [(row.reference.text, row.candidate.text) for row in table.rows] == [
        (score_text(suite.reference.mean, house), score_text(suite.candidate.mean, house))
        for suite in comparison.suites
    ]
    assert [(row.n, row.k) for row in table.rows] == [
        (suite.n_items, (suite.k_reference, suite.k_candidate)) for suite in comparison.suites
    ]
    assert check_tables([table]) == ()


@pytest.mark.parametrize("label", ["Average", "**Overall (mean of 2 suites)**", "Avg.", "总体（2 个评测集的平均）"])
def test_a_row_of_the_mean_is_no_benchmark(label):
    (table,) = parse_markdown(CARD.replace("`musr_generative`", label), "README.md", "Acme-7B-metax-FlagOS")
    assert [row.label for row in table.rows] == ["GPQA_Diamond"]
    (table,) = parse_markdown(CARD.replace("musr_generative", "Average precision"), "README.md", "Acme-7B-metax-FlagOS")
    assert len(table.rows) == 2


def test_the_json_of_collected_tables_has_lines(tmp_path):
    entries = [
        {
            "card": "A-nvidia-FlagOS",
            "columns": ["Metrics", "A-CUDA", "A-FlagOS"],
            "rows": [{"metric": "AIME", "ref": 0.7, "candidate": "-"}],
        },
        {
            "card": "A-nvidia-FlagOS",
            "columns": ["Metrics", "Difference with Nvidia-CUDA"],
            "rows": [{"metric": "AIME", "ref": None, "candidate": "1%"}],
        },
        {"card": "X", "columns": ["Year", "Sales"], "rows": []},
    ]
    path = tmp_path / "tables.json"
    path.write_text(json.dumps(entries, indent=1))
    first, second = parse_file(path)
    assert (first.line, first.rows[0].line) == (3, 11)
    assert second.bare_difference
    assert second.line > first.rows[0].line


@pytest.mark.parametrize(
    "content", ["{", "{}", "[1]", '[{"card": "a"}]', '[{"card": "a", "columns": [], "rows": [{}]}]', "[" * 100_000]
)
def test_other_json_is_refused(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_text(content)
    with pytest.raises(UsageError, match="is not"):
        parse_file(path)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        parse_file(tmp_path / "none.md")
    path = tmp_path / "a.md"
    path.write_bytes("中文".encode("gb18030"))
    with pytest.raises(UsageError, match="is not UTF-8"):
        parse_file(path)
