"""The same items from every place and format, or a refusal that says what differs."""

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evalkit import files
from evalkit.config.suite import check_fields
from evalkit.errors import DataError
from evalkit.tasks import data
from evalkit.tasks.data import Part, find_files

FIELDS = {
    "rows": 3,
    "prepare": "evalkit.scoring.aime:aime",
    "options": {"year": 2099},
    "source": {"hub": "someone/AIME_2099", "revision": "0" * 40, "folder": ["aime2099"], "splits": {"test": "train"}},
}
ROWS = [{"id": f"2099-I-{n}", "problem": f'Find ${n}+{n}$.\nSay why, "quickly".', "answer": 2 * n} for n in (1, 2, 3)]


def load_documents(fields, options):
    return data.load_documents(check_fields(fields), options)


def write(folder: Path, form: str) -> Path:
    folder.mkdir(parents=True)
    if form == "jsonl":
        (folder / "train.jsonl").write_text("\n".join(json.dumps(row) for row in ROWS))
    elif form == "json":
        (folder / "train.json").write_text(json.dumps(ROWS))
    elif form == "csv":
        with (folder / "train.csv").open("w", newline="") as out:
            writer = csv.DictWriter(out, ["id", "problem", "answer"])
            writer.writeheader()
            writer.writerows(ROWS)
    elif form == "parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), folder / "train.parquet")
    elif form == "hub layout":
        (folder / "data").mkdir()
        pq.write_table(pa.Table.from_pylist(ROWS[:2]), folder / "data" / "train-00000-of-00002.parquet")
        pq.write_table(pa.Table.from_pylist(ROWS[2:]), folder / "data" / "train-00001-of-00002.parquet")
    return folder


@pytest.mark.parametrize("form", ["json", "csv", "parquet", "hub layout"])
def test_every_format_gives_the_documents_that_jsonl_gives(tmp_path, form):
    one = load_documents(FIELDS, {"data": str(write(tmp_path / "a" / "aime2099", "jsonl").parent)})
    two = load_documents(FIELDS, {"data": str(write(tmp_path / "b" / "aime2099", form).parent)})
    assert one == two
    assert [document["answer"] for document in one["test"]] == [2, 4, 6]


def test_the_folder_may_be_named_in_the_environment_or_mapped(tmp_path, monkeypatch):
    folder = write(tmp_path / "aime2099", "jsonl")
    mapped = load_documents(FIELDS, {"data": {"mysuite": str(folder)}, "suite": "mysuite"})
    monkeypatch.setenv("EVALKIT_DATA", str(tmp_path))
    assert load_documents(FIELDS, {}) == mapped


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"data": "/nowhere/at/all"}, ["data:", "does not exist"]),
        ({"data": {"mysuite": "EMPTY"}, "suite": "mysuite"}, ["holds no data files"]),
    ],
)
def test_a_wrong_folder_is_one_sentence(tmp_path, options, words):
    (tmp_path / "empty").mkdir()
    text = json.dumps(options).replace("EMPTY", str(tmp_path / "empty"))
    with pytest.raises(DataError) as caught:
        load_documents(FIELDS, json.loads(text))
    assert all(word in str(caught.value) for word in words)


def test_a_part_of_the_data_is_refused_unless_asked_for(tmp_path):
    folder = write(tmp_path / "aime2099", "jsonl")
    fields = {**FIELDS, "rows": 30}
    with pytest.raises(DataError, match="has 3 items here, the suite has 30"):
        load_documents(fields, {"data": str(folder)})
    assert len(load_documents(fields, {"data": str(folder), "partial": True})["test"]) == 3


def test_a_damaged_line_is_named(tmp_path):
    (tmp_path / "aime2099").mkdir()
    (tmp_path / "aime2099" / "train.jsonl").write_text('{"id": "1"}\n{"id": \n')
    with pytest.raises(DataError, match=r"train.jsonl:2: is no JSON"):
        load_documents(FIELDS, {"data": str(tmp_path)})


def test_a_missing_column_is_named_with_the_row(tmp_path):
    (tmp_path / "aime2099").mkdir()
    (tmp_path / "aime2099" / "train.jsonl").write_text('{"id": "1", "question": "x"}\n')
    with pytest.raises(DataError, match=r"row 0 has no 'answer' or 'Answer'"):
        load_documents(FIELDS, {"data": str(tmp_path)})


def test_a_missing_file_names_what_was_found(tmp_path):
    (tmp_path / "gpqa").mkdir()
    for name in ("one", "two"):
        (tmp_path / "gpqa" / f"{name}.jsonl").write_text("{}\n")
    fields = {
        **FIELDS,
        "source": {
            "hub": "x/gpqa",
            "revision": "0" * 40,
            "folder": ["gpqa"],
            "splits": {"test": [{"name": "gpqa_diamond"}]},
        },
    }
    with pytest.raises(DataError, match=r"no file for 'gpqa_diamond'.*found: one.jsonl, two.jsonl"):
        load_documents(fields, {"data": str(tmp_path)})


def test_config_folders_are_told_apart(tmp_path):
    for config in ("main", "other"):
        (tmp_path / config).mkdir()
        (tmp_path / config / "test-00000-of-00001.parquet").touch()
    (found,) = find_files(tmp_path, Part(name="test", config="main", split="test"), sole=True)
    assert found.parent.name == "main"


@pytest.mark.parametrize("below", ["", "data/"])
@pytest.mark.parametrize("name", ["validation-00000-of-00001.parquet", "validation.jsonl"])
def test_a_folder_a_subject_is_one_part(tmp_path, below, name):
    for subject in ("Art", "Math", "Music"):
        home = tmp_path / "mmmu" / f"{below}{subject}"
        home.mkdir(parents=True)
        for file in (name, "dev-00000-of-00001.parquet", "test-00000-of-00001.parquet"):
            (home / file).touch()
    part = Part(split="validation")
    found = find_files(tmp_path / "mmmu", part, sole=True)
    assert [(path.parent.name, path.name) for path in found] == [
        (subject, name) for subject in ("Art", "Math", "Music")
    ]
    whole = tmp_path / "mmmu" / "data" / name
    whole.parent.mkdir(exist_ok=True)
    whole.touch()
    assert find_files(tmp_path / "mmmu", part, sole=True) == [whole], "the usual place stands over folders beside it"


def test_folders_beside_a_named_file_are_no_subjects(tmp_path):
    for place in ("aime.jsonl", "old/train-1.parquet", "new/train-1.parquet"):
        (tmp_path / place).parent.mkdir(exist_ok=True)
        (tmp_path / place).touch()
    assert find_files(tmp_path, Part(name="aime", split="train"), sole=True) == [tmp_path / "aime.jsonl"]


def test_shots_of_the_own_subject_are_attached(tmp_path):
    rows = {
        "test": [{"question": "q1", "subject": "a", "choices": ["x", "y"], "answer": 0}],
        "dev": [
            {"question": f"d{s}{n}", "subject": s, "choices": ["x", "y"], "answer": 1} for s in "ba" for n in (1, 2)
        ],
    }
    for split, lines in rows.items():
        (tmp_path / f"{split}.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    fields = {
        "prepare": "evalkit.scoring.multiple_choice:mmlu",
        "source": {
            "folder": ["m"],
            "splits": {"test": "test", "dev": "dev"},
            "shots": {"split": "dev", "by": "subject", "count": 2},
        },
    }
    (document,) = load_documents(fields, {"data": str(tmp_path)})["test"]
    assert [shot["question"] for shot in document["shots"]] == ["da1", "da2"]
    assert [shot["header"] for shot in document["shots"]] == [True, False]
    assert document["header"] is False


def test_real_aime_rows_are_clean(shared_data):
    from evalkit.config.suite import read_task
    from evalkit.resources import data_folder

    for year in (24, 25):
        fields = read_task(data_folder("suites") / f"aime{year}.yaml")["metadata"]["evalkit"]
        documents = load_documents(fields, {"data": str(shared_data)})["test"]
        assert len(documents) == 30
        assert not any(ord(char) < 32 and char != "\n" for document in documents for char in document["problem"])


def test_real_mmlu_is_whole(shared_data):
    from evalkit.config.suite import read_task
    from evalkit.resources import data_folder

    fields = read_task(data_folder("suites") / "mmlu_gen_5shot.yaml")["metadata"]["evalkit"]
    documents = load_documents(fields, {"data": str(shared_data)})["test"]
    assert len(documents) == 14_042
    assert len({document["subject"] for document in documents}) == 57
    assert all(len(document["shots"]) == 5 for document in documents)
    lite = read_task(data_folder("suites") / "mmlu_gen_5shot_lite.yaml")["metadata"]["evalkit"]
    kept = {document["id"] for document in load_documents(lite, {"data": str(shared_data)})["test"]}
    assert kept < {document["id"] for document in documents}


def test_a_folder_for_all_data_sets_says_nothing_of_one_that_comes_with_its_suite(tmp_path):
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "own.jsonl").write_text("\n".join(json.dumps(row) for row in ROWS))
    fields = {**FIELDS, "source": {"file": "own.jsonl", "splits": {"test": "train"}}}
    options = {"suite_file": str(tmp_path / "suite" / "mine.yaml")}
    folder = str(write(tmp_path / "others", "csv"))
    assert load_documents(fields, {**options, "data": folder}) == load_documents(fields, options)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("d.csv", b"q,a\n1,2,3\n", "d.csv:2: has 3 cells, the header 2"),
        ("d.csv", b"q,a\n1,2\n\xff,3\n", "is no CSV in UTF-8"),
        ("d.jsonl", b'{"q": 1}\n[]\n', "d.jsonl:2: a row is a JSON object, not list"),
        ("d.json", b'{"q": 1}', "d.json: a JSON data set is a list of objects"),
        ("d.parquet", b"PAR1", "d.parquet: is no Parquet file"),
        ("gone.jsonl", None, "gone.jsonl: cannot be read: No such file or directory"),
        ("gone.csv", None, "gone.csv: cannot be read: No such file or directory"),
        ("gone.parquet", None, "gone.parquet: cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_its_line(tmp_path, name, content, sentence):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        list(data.read_rows(tmp_path / name))
    assert sentence in str(caught.value)


def test_a_line_that_never_ends_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MOST_LINE_BYTES", 20)
    (tmp_path / "d.jsonl").write_text('{"q": 1}\n{"q": "' + "x" * 100)
    with pytest.raises(DataError, match=r"d.jsonl:2: is longer than 20 bytes"):
        list(data.read_rows(tmp_path / "d.jsonl"))


@pytest.mark.parametrize("name", ["d.csv", "d.tsv", "d.jsonl", "d.json", "d.parquet"])
def test_rows_are_numbered_and_columns_named_alike(tmp_path, name):
    path, tab = tmp_path / name, "\t" if name == "d.tsv" else ","
    if name == "d.parquet":
        pq.write_table(pa.table({"q": ["x", "y"], "a": ["1", "2"]}), path)
    elif name in {"d.csv", "d.tsv"}:
        path.write_text(f"q{tab}a\nx{tab}1\n\ny{tab}2\n")
    else:
        rows = ['{"q": "x", "a": "1"}', '{"q": "y", "a": "2"}']
        path.write_text("\n\n".join(rows) if name == "d.jsonl" else f"[{','.join(rows)}]")
    found = list(files.numbered_rows(path))
    assert [row for _number, row in found] == [{"q": "x", "a": "1"}, {"q": "y", "a": "2"}]
    lines = {"d.csv": [2, 4], "d.tsv": [2, 4], "d.jsonl": [1, 3]}
    assert [number for number, _row in found] == lines.get(name, [1, 2])
    assert files.column_names(path) == ["q", "a"]
