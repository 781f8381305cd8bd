"""Pictures stay on disk until they are sent, keep their order, and are where the item puts them."""

import hashlib
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalkit.config.suite import check_fields
from evalkit.errors import DataError
from evalkit.tasks import data, pictures
from evalkit.tasks.pictures import parts_of

ROWS = [{"id": str(n), "q": f"q{n}", "image_1": {"bytes": bytes([n]) * 50, "path": f"{n}.png"}} for n in range(7)]


def test_parquet_cells_become_references_that_load_the_same_bytes(tmp_path):
    file = tmp_path / "test.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), file, row_group_size=3)
    rows = list(pictures.parquet_rows(pq.ParquetFile(file), file))
    for row, source in zip(rows, ROWS, strict=True):
        content = source["image_1"]["bytes"]
        assert row["image_1"].load() == content
        assert row["image_1"].digest == hashlib.sha256(content).hexdigest()
    assert len(pictures._GROUPS._held) <= pictures.KEPT_GROUPS


def test_parquet_groups_are_kept_by_their_bytes_and_two_at_least(tmp_path, monkeypatch):
    file = tmp_path / "test.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS), file, row_group_size=1)
    rows = list(pictures.parquet_rows(pq.ParquetFile(file), file))
    for kept_bytes, most in ((10**6, pictures.KEPT_GROUPS), (1, pictures.LEAST_GROUPS)):
        monkeypatch.setattr(pictures, "KEPT_BYTES", kept_bytes)
        monkeypatch.setattr(pictures, "_GROUPS", pictures._Groups())
        held = []
        for row, source in zip(rows, ROWS, strict=True):
            assert row["image_1"].load() == source["image_1"]["bytes"]
            held.append(len(pictures._GROUPS._held))
        assert max(held) == most
        assert rows[0]["image_1"].load() == ROWS[0]["image_1"]["bytes"], "what was let go is read again"


def test_items_on_the_same_picture_are_one_cluster_whatever_its_name(tmp_path):
    for name, content in (("a.png", b"one"), ("copy of a.png", b"one"), ("b.png", b"two")):
        (tmp_path / name).write_bytes(content)
    found = [pictures.file_picture(name, tmp_path / "rows.jsonl") for name in ("a.png", "copy of a.png", "b.png")]
    clusters = [pictures.cluster_of({"pictures": (picture,)}, "pictures") for picture in found]
    assert clusters[0] == clusters[1] != clusters[2]
    assert pictures.cluster_of({"pictures": (found[0], found[2])}, "pictures") not in clusters
    assert pictures.cluster_of({"story": 3}, "story") == "3"
    assert pictures.cluster_of({"pictures": ()}, None) is None


def test_files_beside_the_rows_are_read_and_nothing_outside(tmp_path):
    (tmp_path / "d" / "images").mkdir(parents=True)
    (tmp_path / "d" / "images" / "1.png").write_bytes(b"abc")
    beside = tmp_path / "d" / "rows.jsonl"
    assert pictures.file_picture("images/1.png", beside).load() == b"abc"
    assert pictures.file_picture("images/2.png", beside).digest == "missing"
    with pytest.raises(DataError, match="outside"):
        pictures.file_picture("../../../../../etc/hostname.png", beside)


def test_documents_get_the_pictures_they_name_in_order(tmp_path):
    for n in (1, 2):
        (tmp_path / f"{n}.png").write_bytes(bytes([n]))
    row = {"id": "a", "image_2": "2.png", "image_1": "1.png", "images": ["image_1", "image_2"]}
    (tmp_path / "test.jsonl").write_text(json.dumps(row) + "\n")
    fields = {"source": {"folder": ["x"], "splits": {"test": "test"}}}
    (document,) = data.load_documents(check_fields(fields), {"data": str(tmp_path)})["test"]
    assert [picture.load() for picture in document["pictures"]] == [b"\x01", b"\x02"]


def texts(parts):
    return [part.get("text", part.get("index")) for part in parts]


def test_a_picture_stands_where_it_is_marked_first_and_once():
    parts = parts_of("See <image 2> and <image 1>, again <image 2>.", 3)
    assert texts(parts) == [2, "See [image 2]", 1, " and [image 1]", 0, ", again [image 2]."]


def test_a_mark_without_a_picture_stays_as_words():
    assert texts(parts_of("Look at <image 4>.", 1)) == [0, "Look at [image 4]."]


@given(st.text(alphabet="ab <>image0123", max_size=60), st.integers(0, 7))
def test_every_picture_is_sent_exactly_once(text, count):
    indices = [part["index"] for part in parts_of(text, count) if part["type"] == "image_ref"]
    assert sorted(indices) == list(range(count))
