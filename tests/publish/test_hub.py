"""The Hub's formats, each read back by the library or the schema that defines it."""

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import yaml
from huggingface_hub import ModelCard, parse_eval_result_entries

from evalkit.errors import UsageError
from evalkit.model import Reason
from evalkit.publish.hub import eval_results, every_eval_ever, into_front_matter, model_index
from evalkit.resources import data_folder

SOURCE = "https://example.org/evidence"


def test_eval_results(comparison, golden):
    made = eval_results(comparison, SOURCE)
    golden("eval_results.yaml", made.text)
    entries = parse_eval_result_entries(yaml.safe_load(made.text))
    assert [(e.dataset_id, e.task_id, e.value, e.date, e.source_url) for e in entries] == [
        ("Idavidrein/gpqa", "diamond", 70.14, "2026-07-04", "https://example.org/evidence")
    ]
    assert "n=198, k=8, -0.3 [-1.5, +0.9] pt (90 % interval)" in entries[0].notes
    assert made.left_out[0] == "livebench: INVALID, so it has no score to publish"
    assert "musr: its data set is not registered as a Benchmark on the Hub" in made.left_out


def test_nothing_to_publish_is_an_empty_list(comparison):
    invalid = replace(comparison, suites=comparison.suites[-1:])
    assert yaml.safe_load(eval_results(invalid).text) == []
    assert yaml.safe_load_all(model_index(invalid).text).__next__() == {}


def test_model_index(comparison, golden):
    made = model_index(comparison, "Acme-FlagOS", SOURCE)
    golden("model_index.md", made.text)
    results = ModelCard(made.text + "# Acme\n").data.eval_results
    assert [(r.dataset_type, r.metric_value) for r in results] == [
        ("Idavidrein/gpqa", 70.14), ("cais/mmlu", 67.34), ("TAUR-Lab/MuSR", 57.31), ("TIGER-Lab/TheoremQA", 41.2), ("Maxwell-Jia/AIME_2024", 76.67),
    ]  # fmt: skip
    assert all(r.source_name == "evalkit" for r in results)
    assert "livebench" not in made.text


@pytest.mark.parametrize("side", ["reference", "candidate"])
def test_every_eval_ever(comparison, golden, side):
    made = every_eval_ever(comparison, side, SOURCE)
    golden(f"every_eval_ever-{side}.json", made.text)
    schema = json.loads((Path(__file__).parent / "data" / "every_eval_ever-0.3.0.schema.json").read_text())
    record = json.loads(made.text)
    jsonschema.Draft7Validator(schema).validate(record)
    scores = {result["evaluation_name"]: result["score_details"]["score"] for result in record["evaluation_results"]}
    assert scores["musr"] == {"reference": 0.6442, "candidate": 0.5731}[side]
    assert "livebench" not in scores
    assert "gpu-" not in made.text, "an endpoint's address is nobody's business"


def test_odd_sampling_still_fits_the_schema(comparison):
    sampling = {"temperature": "0.6", "top_p": True, "max_tokens": 10, "stop": ["a"], "seed": None}
    made = every_eval_ever(replace(comparison, candidate=replace(comparison.candidate, sampling=sampling)), "candidate")
    schema = json.loads((Path(__file__).parent / "data" / "every_eval_ever-0.3.0.schema.json").read_text())
    record = json.loads(made.text)
    jsonschema.Draft7Validator(schema).validate(record)
    assert record["evaluation_results"][0]["generation_config"]["generation_args"] == {"max_tokens": 10}
    with pytest.raises(UsageError, match="not an ISO 8601"):
        every_eval_ever(replace(comparison, created="yesterday"), "candidate")


def test_every_place_names_a_data_set():
    places = yaml.safe_load((data_folder("reports") / "hub.yaml").read_text())
    for suite, place in places.items():
        assert place["dataset"].count("/") == 1, suite
        assert set(place) <= {"dataset", "config", "split", "name", "benchmark"}, suite


def test_a_part_of_a_data_set_is_published_only_so_marked(example):
    first, *others = example.clean().suites
    whole = replace(first, notes=(Reason("note.part", {"n": 30, "all": 198}),))
    made = replace(example.clean(), suites=(whole, *others))
    for file in (eval_results(made), model_index(made), every_eval_ever(made, "candidate")):
        assert "gpqa_diamond: 30 of 198 items: give --partial to publish it so marked" in file.left_out
        assert "198 items" not in file.text
    index = model_index(made, partial=True)
    result = index.entry["results"][0]
    assert result["dataset"]["name"].endswith("(30 of 198 items)")
    assert "n=198, 30 of 198 items, k=8" in result["metrics"][0]["name"]
    assert (
        "30 of 198 items" in parse_eval_result_entries(yaml.safe_load(eval_results(made, partial=True).text))[0].notes
    )
    record = json.loads(every_eval_ever(made, "candidate", partial=True).text)
    assert record["evaluation_results"][0]["source_data"]["additional_details"]["part"] == "30 of 198 items"
    readme = into_front_matter(b"# Acme\n", index.entry)
    whole = into_front_matter(readme, model_index(example.clean()).entry)
    assert whole.count(b"Idavidrein/gpqa") == 1, "the part gives way to the whole"
    assert b"198 items" not in whole


def test_a_score_of_fewer_answers_than_were_asked_says_so(example):
    first, *others = example.clean().suites
    few = replace(first.candidate, valued=first.candidate.planned - 1)
    made = replace(example.clean(), suites=(replace(first, candidate=few), *others))
    told = f"{few.valued:,} of {few.planned:,} answers"
    result = model_index(made).entry["results"][0]
    assert result["dataset"]["name"].endswith(f"({told})")
    assert told in result["metrics"][0]["name"]
    assert told in parse_eval_result_entries(yaml.safe_load(eval_results(made).text))[0].notes
    record = json.loads(every_eval_ever(made, "candidate").text)
    assert record["evaluation_results"][0]["source_data"]["additional_details"]["part"] == told
    whole = json.loads(every_eval_ever(made, "reference").text)
    assert "part" not in whole["evaluation_results"][0]["source_data"]["additional_details"]
