"""Raw rows, in both of their forms, and which of them a release has."""

import datetime as dt
import json

import pandas as pd
import pytest

from evalkit.errors import DataError, SuiteError
from evalkit.scoring.livebench import RELEASES, active_in, normalise, select

ROW = {
    "question_id": "0f",
    "category": "reasoning",
    "task": "zebra_puzzle",
    "turns": ["Three people stand in a row ..."],
    "ground_truth": "2, tea, nurse",
    "livebench_release_date": "2024-11-25",
    "livebench_removal_date": "",
    "level": 12,
}


def row(**changes):
    return {**ROW, **changes}


class TestNormalise:
    def test_a_plain_row(self):
        assert normalise(ROW) == {
            "question_id": "0f",
            "category": "reasoning",
            "task": "zebra_puzzle",
            "prompt": "Three people stand in a row ...",
            "ground_truth": "2, tea, nurse",
            "release_date": "2024-11-25",
            "removal_date": "",
        }

    @pytest.mark.parametrize(
        "date",
        [
            "2024-11-25",
            "2024-11-25T00:00:00",
            "2024-11-25 00:00:00",
            dt.date(2024, 11, 25),
            dt.datetime(2024, 11, 25, 13, tzinfo=dt.UTC),
            pd.Timestamp("2024-11-25"),
            1732492800,
            1732492800000,
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_dates_come_as_text_or_as_timestamps(self, date):
        assert normalise(row(livebench_release_date=date))["release_date"] == "2024-11-25"

    def test_an_articles_own_date_is_not_the_release_date(self):
        assert normalise(row(release_date="2024-08-31T20:00:45Z"))["release_date"] == "2024-11-25"

    def test_empty_values_of_instructions_are_dropped(self):
        doc = normalise(row(instruction_id_list=["a", "b"], kwargs=[{"num_words": 5, "relation": None}, None]))
        assert doc["kwargs"] == [{"num_words": 5}, {}]

    @pytest.mark.parametrize("form", [dict, json.dumps])
    def test_the_function_of_a_coding_question(self, form):
        original = form({"metadata": json.dumps({"func_name": "twoSum"}), "starter_code": ""})
        assert normalise(row(original_json=original))["func_name"] == "twoSum"

    def test_a_program_that_reads_input_has_no_function(self):
        assert "func_name" not in normalise(row(original_json={"metadata": "{}"}))

    @pytest.mark.parametrize("column", ["question_id", "category", "task", "turns", "livebench_release_date"])
    def test_a_missing_column_is_named(self, column):
        with pytest.raises(DataError, match=column):
            normalise(row(**{column: None}))

    def test_a_date_that_is_none_is_named(self):
        with pytest.raises(DataError, match="soon"):
            normalise(row(livebench_release_date="soon"))

    def test_broken_json_in_a_coding_row_is_named(self):
        with pytest.raises(DataError, match="original_json"):
            normalise(row(original_json="{"))


class TestReleases:
    @pytest.mark.parametrize(
        ("released", "removed", "active"),
        [
            ("2024-06-24", "", "1111"),
            ("2024-07-26", "", "0111"),
            ("2024-11-25", "", "0001"),
            ("2024-06-24", "2024-08-31", "1100"),
            ("2024-06-24", "2025-04-02", "1111"),  # the trap: removed only after the release
            ("2024-08-31", "2025-04-02", "0011"),
            ("2024-06-24", None, "1111"),
        ],
    )
    def test_active_from_the_release_date_until_before_the_removal_date(self, released, removed, active):
        rows = row(livebench_release_date=released, livebench_removal_date=removed)
        assert "".join(str(int(active_in(rows, release))) for release in RELEASES) == active

    def test_an_unknown_release_is_a_sentence(self):
        with pytest.raises(SuiteError, match="2024-11-25"):
            active_in(ROW, "2025-04-02")

    def test_select_normalises_what_is_active(self):
        rows = [ROW, row(question_id="1f", livebench_removal_date="2024-11-25", livebench_release_date="2024-06-24")]
        assert [doc["question_id"] for doc in select(rows, "2024-11-25")] == ["0f"]


def test_the_public_rows_of_the_release_are_all_there(shared_data):
    files = sorted((shared_data / "livebench" / "questions").glob("*.jsonl"))
    rows = [json.loads(line) for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    docs = select(rows, "2024-11-25")
    assert len(docs) == 732
    assert sum(doc["task"] == "web_of_lies_v2" for doc in docs) == 50
