"""Fixtures: endpoints that report the pixels they received, and folders of invented rows with pictures."""

import json

import pytest
from picture_endpoint import PictureEndpoint, colour, nine_tables, saved


@pytest.fixture
def endpoint():
    server = PictureEndpoint()
    yield server
    server.close()


@pytest.fixture
def other_endpoint():
    server = PictureEndpoint()
    yield server
    server.close()


@pytest.fixture
def judge():
    """A third endpoint, which finds every answer perfect."""
    server = PictureEndpoint()
    server.answer = lambda text: '{"score": 1.0}'
    yield server
    server.close()


@pytest.fixture
def config(tmp_path):
    """Writes an endpoint's configuration and gives its path."""

    def write(name, url, suites, data, **more):
        chosen = [{"name": one, "partial_data": True} if isinstance(one, str) else one for one in suites]
        document = {"name": name, "base_url": url, "model": "loopback", "data": str(data), "suites": chosen}
        path = tmp_path / f"{name}.yaml"
        path.write_text(json.dumps({**document, "runs": str(tmp_path / "runs"), **more}))
        return path

    return write


@pytest.fixture
def ocrbench(tmp_path):
    """Writes an OCRBench of `count` rows and gives the data folder; row n asks for the word w<n>."""

    def write(count=24, spoilt=None):
        folder = tmp_path / "data" / "ocrbench"
        (folder / "images").mkdir(parents=True, exist_ok=True)
        rows = []
        for n in range(count):
            name = f"images/{n}.png"
            source = (spoilt or {}).get(n, saved(colour(n)))
            if source is not None:
                (folder / name).write_bytes(source)
            row = {"dataset": "own", "question": f"What is written here? (hint w{n})", "answer": [f"w{n}"]}
            rows.append({**row, "question_type": "Regular Text Recognition", "image": name})
        (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return tmp_path / "data"

    return write


@pytest.fixture
def nine(tmp_path):
    """Writes the nine data sets, as jsonl with image files or as parquet with image structs; gives the data folder."""

    def write(form):
        root = tmp_path / form
        if form == "jsonl":
            tables = nine_tables(lambda n: f"images/{n}.png")
        else:
            tables = nine_tables(lambda n: {"bytes": saved(colour(n)), "path": f"{n}.png"})
        for stem, rows in tables.items():
            path = root / f"{stem}.{form}"
            path.parent.mkdir(parents=True, exist_ok=True)
            if form == "parquet":
                import pyarrow as pa
                from pyarrow import parquet

                parquet.write_table(pa.Table.from_pylist(rows), path, row_group_size=1)
                continue
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
            (path.parent / "images").mkdir(exist_ok=True)
            for n in range(60):
                (path.parent / "images" / f"{n}.png").write_bytes(saved(colour(n)))
        return root

    return write
