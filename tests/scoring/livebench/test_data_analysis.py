"""Data analysis: column names, column mappings, tables in another format."""

import json

import pytest

from evalkit.errors import DataError
from evalkit.model import FinalText
from evalkit.scoring.livebench import score

ROWS = [{"name": "Ann", "age": 31, "height": 1.70}, {"name": "Bo", "age": 5, "height": None}]
CSV = "name,age,height\nAnn,31,1.7\nBo,5,\n"
TSV = CSV.replace(",", "\t")
JSONL = "\n".join(json.dumps(row) for row in ROWS)
BY_INDEX = json.dumps({str(number): row for number, row in enumerate(ROWS)})
RECORDS = json.dumps(ROWS)
HTML = (
    "<table><thead><tr><th>name</th><th>age</th><th>height</th></tr></thead><tbody>"
    "<tr><td>Ann</td><td>31</td><td>1.7</td></tr><tr><td>Bo</td><td>5</td><td></td></tr></tbody></table>"
)
MARKDOWN = "| name | age | height |\n|:-----|----:|-------:|\n| Ann | 31 | 1.7 |\n| Bo | 5 | |"


def doc(task, truth, released="2024-06-24", **more):
    return {"question_id": "q1", "task": task, "ground_truth": truth, "release_date": released, **more}


def value(question, text):
    return score(question, FinalText(text)).value


class TestColumnNames:
    @pytest.mark.parametrize(
        ("truth", "text", "expected", "flags"),
        [
            ("item_description", "item_description", 1, ()),
            ("item_description", " Item_Description \n", 1, ()),
            ("item_description", r"The answer is \boxed{\text{item_description}}.", 1, ()),
            ("id", "The class is: id", 1, ()),
            ("id", "'id'", 1, ()),
            ("id", "uuid", 1, ("official_loose",)),
            ("postal code", "it is postal code", 1, ()),
            ("id", "name", 0, ()),
        ],
    )
    def test_verdicts(self, truth, text, expected, flags):
        given = score(doc("cta", truth), FinalText(text))
        assert (given.value, given.flags) == (expected, flags)


class TestMappings:
    TRUTH = doc("tablejoin", '{"a": "x", "b": "y"}')

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("{'a': 'x', 'b': 'y'}", 1.0),
            ('<solution>{"a": "x", "b": "y"}</solution>', 1.0),
            ('<solution>\n```python\n{"a": "x",\n "b": "y"}\n```\n</solution>', 1.0),
            ('Sure:\n```\n{"a": "x", "b": "y"}\n```', 1.0),
            (r"\boxed{\{'a': 'x', 'b': 'y'\}}", 1.0),
            ('{"a": "x"}', 0.67),
            ('{"a": "y", "b": "x"}', 0.0),
            ('{"a": "x", "b": "z"}', 0.5),
            ('{"a": "x", "b": "y", "c": "z"}', 0.8),
            ("['a', 'x']", 0.0),
            ("__import__('os').getcwd()", 0.0),
            ("{" * 5_000, 0.0),
            ("-" * 200_000 + "1", 0.0),
            ("-" * 90_000 + "1", 0.0),
            ("[" * 90_000, 0.0),
        ],
    )
    def test_verdicts(self, text, expected):
        assert value(self.TRUTH, text) == expected

    def test_the_counts_are_reported(self):
        metrics = score(self.TRUTH, FinalText('{"a": "x", "b": "z"}')).metrics
        assert metrics == {"right": 1, "spurious": 1, "missing": 1}


class TestFormats:
    @staticmethod
    def question(target, truth, released="2024-06-24"):
        prompt = f"Please convert the Input Table from CSV format to {target} format and respond only with the table."
        return doc("tablereformat", truth, released, prompt=prompt)

    @staticmethod
    def newer(target, truth):
        prompt = f"Source Format: csv\nTarget Format: {target}\nInput Table: ..."
        return doc("tablereformat", truth, "2025-04-25", prompt=prompt)

    @pytest.mark.parametrize(
        ("target", "truth"),
        [("CSV", CSV), ("TSV", TSV), ("JSONL", JSONL), ("JSON", BY_INDEX), ("JSON", RECORDS), ("HTML", HTML)],
    )
    def test_the_truth_itself_is_right_bare_fenced_and_introduced(self, target, truth):
        question = self.question(target, truth)
        fenced = f"```{target.lower()}\n{truth}\n```"
        for text in (truth, fenced, f"Here is the table: {truth}", f"<solution>\n{fenced}\n</solution>"):
            assert value(question, text) == 1, text

    @pytest.mark.parametrize(
        ("target", "truth"), [("csv", CSV), ("json", RECORDS), ("json", BY_INDEX), ("markdown", MARKDOWN), ("tsv", TSV)]
    )
    def test_the_newer_prompts_name_the_format_on_a_line(self, target, truth):
        assert value(self.newer(target, truth), truth) == 1

    def test_markdown_with_other_dashes_is_the_same_table_in_the_newer_rule(self):
        assert (
            value(self.newer("markdown", MARKDOWN), MARKDOWN.replace("|:-----|----:|-------:|", "|---|---|---|")) == 1
        )

    @pytest.mark.parametrize(
        "text",
        [
            CSV.replace("Ann", "Anna"),
            CSV.replace("1.7", "1.8"),
            CSV.replace("Bo,5,\n", ""),
            CSV.replace("height", "Height"),
            CSV + "Cy,1,1\n",
            "no table here",
            "",
        ],
    )
    def test_another_table_is_wrong(self, text):
        assert value(self.question("CSV", CSV), text) == 0

    def test_columns_may_come_in_another_order_rows_may_not(self):
        assert value(self.question("CSV", CSV), "age,height,name\n31,1.7,Ann\n5,,Bo\n") == 1
        assert value(self.question("CSV", CSV), "name,age,height\nBo,5,\nAnn,31,1.7\n") == 0

    def test_an_index_column_is_left_out(self):
        assert value(self.question("CSV", CSV), "index,name,age,height\n0,Ann,31,1.7\n1,Bo,5,\n") == 1

    def test_numbers_are_compared_as_numbers_and_texts_without_outer_spaces(self):
        assert value(self.question("CSV", CSV), "name,age,height\n Ann ,31.0,1.70\nBo,5,\n") == 1

    def test_a_table_is_found_between_prose(self):
        prose = f"I looked at it.\n{CSV}\nThat, then, is it, all, of, it."
        assert value(self.question("CSV", CSV), prose) == 1
        assert value(self.question("TSV", TSV), f"I looked at it.\n{TSV}x\ty\tz\tw") == 1
        assert value(self.question("JSONL", JSONL), f"As lines:\n{JSONL}\nDone.") == 1

    def test_an_unreadable_truth_is_an_error_of_the_data(self):
        with pytest.raises(DataError, match="cannot be read as json"):
            score(self.question("JSON", "not json"), FinalText(RECORDS))

    def test_what_is_no_table_is_no_answer(self):
        assert score(self.question("JSON", RECORDS), FinalText("I cannot.")).reason == "no_answer"

    @pytest.mark.parametrize(
        ("loop", "verdict"), [("1," * 500_000, 0), (CSV + "Bo,5,\n1,2,3,4,5\n" * 60_000, 0), (CSV + "1," * 500_000, 1)]
    )
    def test_a_loop_has_a_verdict(self, loop, verdict):
        given = score(self.question("csv", CSV), FinalText(loop))
        assert (given.value, given.reason == "grade_timeout") == (verdict, False)
