"""The card checker: each rule on invented cards, and all of them on the published ones against a person's list."""

from collections import Counter
from pathlib import Path

import pytest
import yaml

from evalkit.publish.card_check import check_cards, check_tables
from evalkit.publish.card_parse import parse_markdown
from evalkit.publish.cards import own_data


def tables(*cards):
    """(card name, reference head, candidate head, rows) to parsed tables."""
    made = []
    for name, reference, candidate, rows in cards:
        body = "".join(f"| {' | '.join(row)} |\n" for row in rows)
        text = f"| Metrics | {reference} | {candidate} |\n| - | - | - |\n{body}"
        made += parse_markdown(text, f"{name}/README.md", name)
    return made


def found(*cards):
    return [(item.card, item.rule) for item in check_tables(tables(*cards))]


def one(*rows, name="Acme-nvidia-FlagOS", candidate="Acme-Nvidia-FlagOS"):
    return check_tables(tables((name, "Acme-Nvidia-Origin", candidate, rows)))


def test_a_sound_card_has_no_findings():
    assert one(("GPQA_Diamond", "70.20", "71.21"), ("AIME 2024", "76.67", "70.00"), ("LiveBench", "50.1", "50.8")) == ()


@pytest.mark.parametrize(
    ("row", "rule", "words"),
    [
        (("AIME 2024", "-", "70.00"), "hole", "AIME 2024: the reference's cell says '-' where a score belongs"),
        (("AIME 2024", "70.00", ""), "hole", "the candidate's cell is empty"),
        (("MATH-500", "0", "86.6"), "zero-score", "the reference scored exactly 0: a run that failed"),
        (("AIME 2024", "0", "0"), "zero-score", "the reference and the candidate scored exactly 0: a run that failed, or a test too hard"),
        (("GPQA_Diamond", "13.64", "70.20"), "below-chance", "the reference's 13.64 is below a blind guess (25 %) on 198 questions"),
        (("Where2Place", "1.22", "60.1"), "below-chance", "the reference's 1.22 is next to nothing"),
        (("GPQA_Diamond", "38.0", "70.20"), "not-k-of-n", "the reference's 38.0 is no share of 198 questions asked once: 75 right is 37.9, 76 is 38.4 (it could be if each was asked 3 times"),
        (("AIME 2024 (Pass@1)", "71.67", "70.00"), "not-k-of-n", "the reference's 71.67 is no share of 30 questions asked once: 21 right is 70.00, 22 is 73.33"),
        (("orcbench_test", "70.1", "70.2"), "unknown-label", "perhaps ocrbench_test is meant"),
        (("MATH-500", "23/30", "86.6"), "mixed-scales", "MATH-500 is printed as a count such as 23/30 in a table of percent"),
        (("MATH-500", "86.8(±0.7)", "86.6"), "mixed-scales", "86.8(±0.7) carries a spread"),
        (("MATH-500", "0.868", "0.866"), "mixed-scales", "MATH-500 is printed as 0 to 1 in a table of percent"),
        (("AIME-2024", "73.33", "70.00"), "duplicate-label", "'AIME-2024' names the same benchmark as 'AIME 2024 (Pass@1)' on line 3"),
    ],
)  # fmt: skip
def test_rules_within_a_table(row, rule, words):
    sound = [("AIME 2024 (Pass@1)", "73.33", "70.00")] if rule == "duplicate-label" else []
    sound += [("MMLU", "66.9", "67.3"), ("LiveBench", "50.1", "50.8"), ("CEVAL", "60.1", "60.2")]
    findings = one(*sound, row)
    assert [item.rule for item in findings] == [rule]
    assert words in findings[0].sentence
    assert (findings[0].file, findings[0].line) == ("Acme-nvidia-FlagOS/README.md", 3 + len(sound))


def test_a_score_at_chance_or_of_an_unknown_number_of_questions_is_let_be():
    assert one(("GPQA_Diamond", "24.24", "25.25")) == ()
    assert [item.rule for item in one(("GPQA_Diamond", "14.0", "25.25"))] == ["not-k-of-n"]


def test_cut_off_digits_are_shares_too():
    assert one(("GPQA_Diamond", "85.85", "85.86")) == ()  # 170 of 198 is 85.858...


def test_a_column_of_another_chip():
    (item,) = one(("LiveBench", "50.1", "50.8"), name="Acme-iluvatar-FlagOS")
    assert item.rule == "wrong-chip"
    assert "'Acme-Nvidia-FlagOS' in a card named 'Acme-iluvatar-FlagOS'" in item.sentence


def test_bare_differences():
    text = "| Metrics(avg@1) | Difference with Nvidia-CUDA |\n| - | - |\n| MMMU ↑ | 1.44% |\n"
    (item,) = check_tables(parse_markdown(text, "README.md", "x"))
    assert (item.rule, item.line) == ("bare-difference", 1)


HEADS = ("Acme-Nvidia-Origin", "Acme-Metax-FlagOS")
ROWS = [("LiveBench", "50.11", "52.22"), ("CEVAL", "61.33", "60.44"), ("BBH", "70.55", "71.66")]


def test_swapped_columns_are_no_moved_reference():
    turned = [(label, right, left) for label, left, right in ROWS]
    assert found(("A", *HEADS, ROWS), ("B", *HEADS, turned)) == [("B", "swapped-columns")]


def test_a_moved_reference_is_the_one_that_few_cards_have():
    moved = [("LiveBench", "49.00", "52.00")]
    assert found(("A", *HEADS, moved), ("B", *HEADS, ROWS), ("C", *HEADS, ROWS[:1])) == [("A", "reference-moved")]
    assert found(("A", *HEADS, ROWS), ("B", *HEADS, moved)) == [("B", "reference-moved")]
    assert found(("A", *HEADS, ROWS), ("B", *HEADS, [("LiveBench", "50.1", "52.00")])) == []  # the same, rounded


@pytest.mark.parametrize("padded", ["50.890", "50.8900", "0.50890", "50.890%"])
def test_a_zero_behind_two_decimals_of_a_percent_is_padding(padded):
    assert one(("MMMU", padded, padded)) == (), "458 of 900 are 50.89 %"
    wrong = padded.replace("9", "4", 1)
    assert [item.rule for item in one(("MMMU", wrong, wrong))] == ["not-k-of-n"] * 2, "50.84 % are none"


def test_zeros_at_the_end_of_every_score_of_a_table_are_padding():
    rows = [("MMMU", "50.90", "51.10"), ("CMMMU", "40.30", "41.80"), ("MATH-500", "86.60", "85.20")]
    assert one(*rows) == (), "458 of 900 are 50.9 %"
    assert [item.rule for item in one(*rows[:1], ("MATH-500", "86.64", "85.20"))] == ["not-k-of-n"] * 3
    # Two cells may end so by chance, or count 50 questions.
    assert [item.rule for item in one(("GPQA_Diamond", "38.0", "32.0"))] == ["not-k-of-n"] * 2


def test_scales_between_cards_of_a_model():
    fractions = [(label, f"0.{left.replace('.', '')}", f"0.{right.replace('.', '')}") for label, left, right in ROWS]
    assert found(("A", *HEADS, ROWS), ("B", *HEADS, fractions)) == [("B", "mixed-scales")]


def test_another_models_figures():
    other = ("Other-7B-Nvidia-Origin", "Other-7B-Metax-FlagOS")
    assert found(("A", *HEADS, ROWS), ("B", *other, ROWS)) == [("B", "another-models-figures")]
    only_references = [(label, left, f"{float(right) - 3:.2f}") for label, left, right in ROWS]
    assert found(("A", *HEADS, ROWS), ("B", *other, only_references)) == [("B", "another-models-figures")]
    assert found(("A", *HEADS, ROWS), ("B", *other, ROWS[:2])) == []  # two equal rows can be chance
    zeros = [(label, "0.0", "0.0") for label, *_ in ROWS]
    assert {rule for _, rule in found(("A", *HEADS, zeros), ("B", *other, zeros))} == {"zero-score"}


def test_a_label_that_carries_another_benchmarks_figure():
    wrong = [("AIME 2025", "76.67", "73.33"), ROWS[0]]
    right = [("AIME 2024", "76.67", "70.00"), ROWS[0]]
    assert found(("A", *HEADS, right), ("B", *HEADS, wrong), ("C", *HEADS, right)) == [("B", "wrong-label")]


def test_every_finding_has_a_known_rule_and_order_is_that_of_the_files():
    items = check_tables(tables(("B", *HEADS, [("x", "-", "-")]), ("A", *HEADS, [("y", "-", "1")])))
    assert [item.card for item in items] == ["B", "B", "B", "A", "A"]
    assert {item.rule for item in items} <= set(own_data("card_rules"))


LISTED = [
    (48, "reference-moved"), (47, "reference-moved"), (30, "reference-moved"), (31, "reference-moved"),
    (22, "swapped-columns"), (14, "another-models-figures"), (2, "duplicate-label"), (2, "wrong-label"), (39, "wrong-chip"),
    (63, "zero-score"), (64, "zero-score"), (65, "zero-score"), (26, "below-chance"), (40, "below-chance"),
    (33, "mixed-scales"), (34, "mixed-scales"), (4, "mixed-scales"), (5, "mixed-scales"),
    (0, "hole"), (43, "hole"), (44, "hole"), (60, "hole"),
]  # fmt: skip


@pytest.fixture(scope="module")
def published(shared_data):
    path = shared_data / "flagrelease_tables.json"
    if not path.is_file():
        pytest.skip("the collected tables are not in the folder of real rows")
    return check_cards([path])


def test_the_published_tables_against_a_persons_list(published, capsys):
    labels = yaml.safe_load((Path(__file__).parent / "card_labels.yaml").read_text())
    expected = {(table, rule) for table, rules in labels.items() for rule in rules}
    got = {(item.table, item.rule) for item in published}
    right = len(expected & got)
    precision, recall = right / len(got), right / len(expected)
    with capsys.disabled():
        found = f"{len(got)} findings, precision {precision:.3f}, recall {recall:.3f} of {len(expected)}"
        print(f"\ncard check: {found}")  # noqa: T201 - a person wants to read it
    assert precision >= 0.95, (precision, sorted(got - expected))
    assert recall >= 0.95, (recall, sorted(expected - got))
    assert set(Counter(rule for _, rule in expected)) == set(own_data("card_rules")), "every rule is seen in the wild"


def test_the_published_problems_that_are_known_by_name_are_found(published):
    got = {(item.table, item.rule) for item in published}
    assert [case for case in LISTED if case not in got] == []
    lines = {(item.table, item.line) for item in published}
    assert all(line > 1 for _, line in lines)
