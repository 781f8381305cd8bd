"""The nine suites end to end: prompts as they arrive, pixel for pixel, from jsonl with image files and from parquet."""

import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from picture_endpoint import BLINK_PARTS, NINE, colour, pictures, pixels_of, reported, saved
from PIL import Image
from stored_run import journal_records


def sha(n):
    return ("image", pixels_of(colour(n)))


def run_nine(form, nine, endpoint, judge, config, invoke, tmp_path):
    path = config(form, endpoint.url, NINE, nine(form), judge={"base_url": judge.url, "model": "loopback"})
    done = invoke("run", path, "--json", "--quiet")
    assert done.code == 0, done.err
    return json.loads(done.out)["suites"], reported(tmp_path / "runs" / form)


def test_all_nine_arrive_as_the_data_set_has_them(nine, endpoint, judge, config, invoke, tmp_path):
    suites, seen = run_nine("jsonl", nine, endpoint, judge, config, invoke, tmp_path)
    means = {suite["suite"]: suite["mean"] for suite in suites}
    # The endpoint sees no hint in a screenshot, and mathvision and free text are answered in the form they take.
    assert means == pytest.approx({**dict.fromkeys(NINE, 1.0), "mmmu_pro_vision": 0.0})
    assert len(seen) == sum(suite["planned"] for suite in suites) == len(endpoint.asked)
    assert len(endpoint.preflight) == 1, "one tiny request, for the suite with most pictures"
    assert len(endpoint.preflight[0]) == 4 + 1

    assert seen["mmmu", "validation_Math_901"] == [
        sha(4),  # no mark names it: it comes first
        ("text", "See [image 2]"), sha(2), ("text", ", then [image 1]"), sha(1),
        ("text", "; again [image 2]. (hint B)\n\nA. [image 3]"), sha(3), seen["mmmu", "validation_Math_901"][-1],
    ]  # fmt: skip
    assert seen["mmmu", "validation_Math_901"][-1][1].startswith("\nB. ten\nC. six\n\n")
    assert seen["mmmu_pro_standard", "test_Art_9001"][:4] == [
        ("text", "Which [image 2]"), sha(7), ("text", "? [image 1]"), sha(6)
    ]  # fmt: skip
    assert seen["mmmu_pro_vision", "test_Art_9001"][:2] == [("text", "[image 1]"), sha(8)]
    assert seen["cmmmu", "90001"][:4] == [("text", "如图[image 2]"), sha(10), ("text", "和[image 1]"), sha(9)]
    assert "A. 一\nB. 二\nC. 三\n" in seen["cmmmu", "90001"][4][1]
    assert seen["cii_bench", "test-0"][0] == sha(12)
    for n, part in enumerate(BLINK_PARTS):
        assert seen["blink", f"val_{part}_1"][:4] == [
            ("text", "[image 1]"), sha(20 + n), ("text", " [image 2]"), sha(40 + n)
        ]  # fmt: skip
    assert seen["mathvision", "9001"][:2] == [("text", "How large?\n[image 1]"), sha(13)]
    assert seen["mathvision", "9002"][0] == sha(14), "marks within one picture are words; the picture comes first"
    assert seen["mathvision", "9002"][1][1].startswith("[figure 1] or [figure 2]?")
    (ocr,) = [value for (suite, item), value in seen.items() if suite == "ocrbench" and "HARBOR0" in value[1][1]]
    assert ocr == [sha(15), ("text", "what is written in the image? (hint HARBOR0)")], "nothing is added"
    assert seen["mmvet_v2", "v2_1"] == [
        ("text", "[image 2]"), sha(18), ("text", "Before [image 1]"), sha(17), ("text", "? (hint 3 cups)")
    ]  # fmt: skip
    case = json.loads(judge.asked[0][-1][1])
    assert case == {"question": "[image 2]Before [image 1]? (hint 3 cups)", "truth": "3<OR>three",
                    "answer": "Answer: 3 cups"}  # fmt: skip


def test_parquet_gives_the_same_requests_as_image_files(nine, endpoint, judge, config, invoke, tmp_path):
    given = nine, endpoint, judge, config, invoke, tmp_path
    _suites, files = run_nine("jsonl", *given)
    _suites, structs = run_nine("parquet", *given)
    assert files == structs


def encodings(n):
    """(bytes, suffix, the picture that must arrive), for every kind of source; expectations are made by hand."""
    base = colour(n)
    grey = np.asarray(base)[:, :, 0]
    orientation = Image.Exif()
    orientation[0x0112] = 6
    jpeg = saved(base, "JPEG", quality=90)
    turned = saved(base, "JPEG", quality=90, exif=orientation)
    palette = base.quantize(16)
    table = np.array(palette.getpalette()[: 3 * 16], dtype=np.uint8).reshape(-1, 3)
    mask = (grey > 100).astype(np.uint8) * 255
    seen = np.where(mask[:, :, None] == 255, np.asarray(base), 255).astype(np.uint8)
    deep = Image.fromarray((grey.astype(np.uint16) << 8) | 7)
    cmyk = Image.fromarray(np.dstack([grey, 255 - grey, grey // 2, np.zeros_like(grey)]), "CMYK")
    inks = np.dstack([255 - grey, grey, 255 - grey // 2]).astype(np.uint8)
    decoded = Image.open(io.BytesIO(jpeg)).convert("RGB")
    alpha = base.copy()
    alpha.putalpha(Image.fromarray(mask))
    return [
        (saved(base), "png", base),
        (jpeg, "jpg", decoded),
        (saved(palette), "png", Image.fromarray(table[np.asarray(palette)])),
        (saved(alpha), "png", Image.fromarray(seen)),
        (saved(deep), "png", Image.fromarray(np.dstack([grey] * 3))),
        (saved(cmyk, "TIFF"), "tif", Image.fromarray(inks)),
        (turned, "jpg", Image.fromarray(np.rot90(np.asarray(decoded), -1))),
    ]


def test_every_kind_of_source_in_items_of_one_to_seven_pictures(endpoint, config, invoke, tmp_path):
    folder = tmp_path / "data" / "mmmu"
    folder.mkdir(parents=True)
    rows, expected = [], {}
    for count in range(1, 8):
        row = {
            "id": f"validation_Math_{count}",
            "options": "['a', 'b']",
            "answer": "A",
            "question_type": "multiple-choice",
        }
        sources = encodings(count)[-count:]
        for k, (source, suffix, _) in enumerate(sources, 1):
            name = f"{count}-{k}.{suffix}"
            (folder / name).write_bytes(source)
            row[f"image_{k}"] = name
        marked = list(range(count, 0, -1))  # the last first
        row["question"] = " ".join(f"<image {k}>" for k in marked) + " (hint A)"
        rows.append(row)
        expected[f"validation_Math_{count}"] = [pixels_of(sources[k - 1][2]) for k in marked]
    (folder / "validation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = invoke("run", config("ref", endpoint.url, ["mmmu"], tmp_path / "data"), "--quiet")
    assert done.code == 0, done.err
    seen = reported(tmp_path / "runs" / "ref")
    for (_suite, item), received in seen.items():
        assert pictures(received) == expected[item], item
        marks = [value.split("[image ")[1][0] for kind, value in received[:-1] if kind == "text"]
        assert marks == [str(k) for k in range(len(expected[item]), 0, -1)]
    assert len(seen) == 7


@pytest.mark.parametrize("wrong", [0, -5, "many", 1.5, True])
def test_max_pixels_that_is_no_number_of_pixels_is_refused(wrong, endpoint, config, invoke, ocrbench):
    suite = {"name": "ocrbench", "partial_data": True, "settings": {"max_pixels": wrong}}
    done = invoke("run", config("ref", endpoint.url, [suite], ocrbench(2)), "--quiet")
    assert done.code == 2
    assert "max_pixels" in done.err
    assert not endpoint.asked


def test_max_pixels_is_a_guard_and_another_request(endpoint, config, invoke, ocrbench, tmp_path):
    data = ocrbench(3, {1: saved(Image.new("RGB", (40, 40)))})
    suite = {"name": "ocrbench", "partial_data": True, "settings": {"max_pixels": 60}}
    done = invoke("run", config("ref", endpoint.url, [suite], data), "--json", "--quiet")
    assert done.code == 3
    (found,) = json.loads(done.out)["suites"]
    assert (found["valued"], found["failures"]) == (2, {"image": 1})
    assert "above the suite's max_pixels of 60" in str(journal_records(tmp_path / "runs" / "ref"))
    assert len(endpoint.asked) == 2, "what the guard holds is not sent"
    invoke("run", config("ref", endpoint.url, ["ocrbench"], data), "--quiet")
    assert len(endpoint.asked) == 5, "without the guard it is another request, and nothing stored answers it"


def test_rows_of_a_suite_by_all_that_its_items_are_counted_under(nine, endpoint, judge, config, invoke, tmp_path):
    data = nine("parquet")
    for name, server in (("ref", endpoint), ("cand", endpoint)):
        path = config(name, server.url, ["mmvet_v2", "cii_bench"], data, judge={"base_url": judge.url, "model": "m"})
        judge.model = "m"
        assert invoke("run", path, "--quiet").code == 0
    invoke("compare", tmp_path / "runs" / "ref", tmp_path / "runs" / "cand", "--json")
    document = json.loads((tmp_path / "runs" / "ref--cand" / "comparison.json").read_text())
    suites = {suite["suite"]: suite for suite in document["suites"]}
    headings = {name: [tuple(row["heading"]) for row in suite["breakdown"]] for name, suite in suites.items()}
    assert headings["mmvet_v2"] == [("capability", "math"), ("capability", "rec"), ("math+rec",)]
    assert headings["cii_bench"] == [("difficulty", "简单"), ("emotion", "中性"), ("环境",)]
    listed = (tmp_path / "runs" / "ref").glob("items-*.parquet")
    rows = [row for file in listed for row in pq.read_table(file, columns=["suite", "cluster"]).to_pylist()]
    clusters = {row["cluster"] for row in rows if row["suite"] == "cii_bench"}
    assert len(clusters) == 1, "two questions on one picture, whose local_path differs"
    assert None not in clusters
