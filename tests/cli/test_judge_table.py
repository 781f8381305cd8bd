"""`evalkit judge-table`: cards, collected tables and CSV files; all 66 published tables where they are at hand."""

import json
from collections import Counter

import pytest

CSV = """card,metric,n,k,reference,candidate
4B,AIME,30,,.700,.767
4B,MMLU,14042,,66.9,67.3
30B,MMLU,14042,1,.669,.758
30B,mine,,,50.0,51.0
"""


@pytest.fixture
def judged(invoke, tmp_path):
    def run(text, name="table.csv", *options):
        path = tmp_path / name
        path.write_text(text)
        done = invoke("judge-table", path, "--json", *options)
        tables = json.loads(done.out)["tables"] if done.out else []
        return done, {(t["table"], r["metric"]): r for t in tables for r in t["rows"]}

    return run


def test_a_csv_in_fractions_and_percent(judged):
    done, rows = judged(CSV)
    assert done.code == 3
    assert {key: row["verdict"] for key, row in rows.items()} == {
        ("4B", "AIME"): "INCONCLUSIVE",
        ("4B", "MMLU"): "EQUIVALENT",
        ("30B", "MMLU"): "ELEVATED",
        ("30B", "mine"): "INVALID",
    }
    assert rows["4B", "MMLU"]["reference"] == pytest.approx(0.669)
    assert rows["30B", "MMLU"]["ci95"] == pytest.approx([0.078, 0.100], abs=5e-4)


def test_a_score_that_is_padded_with_a_zero_is_a_share_of_its_questions(judged):
    _done, rows = judged("metric,reference,candidate\nMMMU,50.890,51.110\nCMMMU,50.840,51.110\n")
    assert {metric: row["n_items"] for (_, metric), row in rows.items()} == {"MMMU": 900, "CMMMU": None}


def test_items_and_margins_are_given_by_name(judged):
    _done, rows = judged(CSV, "table.csv", "--items", "mine=100", "--margin", "MMLU=10", "--margin", "50")
    assert rows["30B", "mine"]["n_items"] == 100
    assert (rows["30B", "MMLU"]["margin"], rows["4B", "AIME"]["margin"]) == (0.1, 0.5)
    assert rows["4B", "AIME"]["verdict"] == "EQUIVALENT"


def test_a_table_for_people_with_its_sentences(invoke, tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(CSV)
    shown = " ".join(invoke("judge-table", path).out.split())
    assert "AIME 30 70.00 76.70 +6.7 [" in shown
    assert "AIME: two single means over 30 items" in shown
    assert "mean of 2 rows" in shown


def test_a_published_card(invoke, tmp_path):
    card = tmp_path / "README.md"
    card.write_text(
        "# X\n\n| Metrics | X-H100-CUDA | X-FlagOS-Iluvatar |\n|---|---|---|\n| MMLU | 66.9 | 75.8 |\n| AIME | 70.0 | TBD |\n"
    )
    done = invoke("judge-table", card)
    assert "ELEVATED" in done.out
    assert "the candidate's score is missing" in done.out
    assert done.code == 3


@pytest.mark.parametrize(
    ("text", "options", "sentence"),
    [
        ("metric,reference\nx,1\n", (), "has no column 'candidate'"),
        ("", (), "has no column 'metric'"),
        ("metric,reference,candidate\n", (), "holds no row"),
        ("metric,reference,candidate,n\nAIME,.7,.7,many\n", (), ":2: n: 'many' is no whole number"),
        (CSV, ("--items", "x"), "'x' is not NAME=N"),
        (CSV, ("--margin", "x=y"), "is not POINTS or SUITE=POINTS"),
    ],
)
def test_mistakes(invoke, tmp_path, text, options, sentence):
    path = tmp_path / "t.csv"
    path.write_text(text)
    done = invoke("judge-table", path, *options)
    assert done.code == 2
    assert sentence in done.err


def test_a_table_that_is_not_there(invoke, tmp_path):
    done = invoke("judge-table", tmp_path / "none.csv")
    assert (done.code, done.err) == (
        2,
        f"evalkit: {tmp_path / 'none.csv'}: cannot be read: No such file or directory\n",
    )


def test_a_card_without_a_comparison(invoke, tmp_path):
    path = tmp_path / "README.md"
    path.write_text("# nothing\n")
    done = invoke("judge-table", path)
    assert done.code == 2
    assert "holds no table that compares two stacks" in done.err


def test_all_published_tables(shared_data, invoke):
    done = invoke("judge-table", shared_data / "flagrelease_tables.json", "--json")
    tables = json.loads(done.out)["tables"]
    assert len(tables) == 66
    rows = [(table["table"], row) for table in tables for row in table["rows"]]
    assert len(rows) > 300
    for _name, row in rows:
        assert row["reason"]
        assert (row["ci90"] is None) is (row["verdict"] == "INVALID")
        if row["ci90"] is not None:
            assert row["ci95"][0] <= row["ci90"][0] <= row["difference"] <= row["ci90"][1] <= row["ci95"][1]
    counts = Counter(row["verdict"] for _name, row in rows)
    assert counts["INCONCLUSIVE"] > 100  # single runs of small suites carry no claim
    assert counts["EQUIVALENT"] >= 30
    # Thirty questions asked once never show equivalence at two points, whatever the two numbers are.
    assert {row["verdict"] for _name, row in rows if row["n_items"] == 30} <= {
        "INCONCLUSIVE",
        "INVALID",
        "DEGRADED",
        "ELEVATED",
    }
    zero = [row for _name, row in rows if 0 in (row["reference"], row["candidate"])]
    assert zero
    assert {row["verdict"] for row in zero} == {"INVALID"}
