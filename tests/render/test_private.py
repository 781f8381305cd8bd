"""Reports that are passed on do not say where the endpoints are; everything else they say stays."""

from dataclasses import replace

import pytest
from reasons import told

from evalkit.model import Difference, Probe, Reason, Verdict, said
from evalkit.render.html import report
from evalkit.render.private import HIDDEN, fit_to_pass_on, without_hosts
from evalkit.render.report import github_annotations, summary


def with_addresses(comparison):
    return replace(
        comparison,
        reference=replace(
            comparison.reference, endpoint={"base_url": "http://gpu-7:8000/v1", "host": "rack-12", "version": "0.28.0"}
        ),
        differences=(
            Difference("base_url", "http://gpu-7:8000/v1", "https://user:pw@10.20.30.40/v1?x=1"),
            Difference("base_urls", '["http://a.internal:1/v1", "http://b.internal:2/v1"]', "(not set)"),
            Difference("launch.host", "(not set)", "rack-13"),
            Difference("launch.argv", "serve --host 10.20.30.40 --port 80", "serve"),
            Difference("sampling.top_p", "0.9", "0.95"),
        ),
        notes=(
            said("10.20.30.40:80 does not answer"),
            Reason("note.stopped", {"name": "cand", "suite": "quiz", "why": "gpu-7:8000 is gone; gpu-7 alone stays"}),
            said("a.internal is slow"),
        ),
        reasons=(said("http://gpu-7:8000/v1: refused"),),
        suites=(
            replace(
                comparison.suites[0], reasons=(said("b.internal stalled"),), notes=(said("see http://gpu-7:8000/x"),)
            ),
        ),
    )


@pytest.mark.parametrize(
    "secret", ["10.20.30.40", "gpu-7:8000", "a.internal", "b.internal", "rack-12", "rack-13", "pw@"]
)
@pytest.mark.parametrize("make", [report, summary])
def test_no_host_is_printed(comparison, make, secret):
    assert secret not in make(with_addresses(comparison))


def test_hosts_are_printed_where_asked_for(comparison):
    text = report(with_addresses(comparison), include_hosts=True)
    for words in ("10.20.30.40", "gpu-7:8000", "a.internal", "rack-12"):
        assert words in text


def test_the_rest_stays(comparison):
    hidden = without_hosts(with_addresses(comparison))
    values = {one.key: (one.reference, one.candidate) for one in hidden.differences}
    assert values["base_url"] == (f"http://{HIDDEN}/v1", f"https://{HIDDEN}/v1?x=1")
    assert values["base_urls"] == (f'["http://{HIDDEN}/v1", "http://{HIDDEN}/v1"]', "(not set)")
    assert values["launch.host"] == ("(not set)", HIDDEN)
    assert values["sampling.top_p"] == ("0.9", "0.95")
    assert hidden.reference.endpoint == {"base_url": f"http://{HIDDEN}/v1", "host": HIDDEN, "version": "0.28.0"}
    assert told(hidden.notes) == [
        f"{HIDDEN} does not answer",
        f"cand: quiz: {HIDDEN} is gone; gpu-7 alone stays",
        f"{HIDDEN} is slow",
    ]
    assert hidden.flips is comparison.flips
    assert without_hosts(hidden) == hidden


WEIGHTS = "/home/alice/models/acme 7b/acme-7b.Q8_0.gguf"


def with_paths(comparison):
    endpoint = {"model_path": WEIGHTS, "version": "0.28.0"}
    return replace(
        comparison,
        reference=replace(comparison.reference, endpoint=endpoint, model="/srv/alice/Acme-7B/"),
        candidate=replace(comparison.candidate, endpoint={"model_path": "~/alice/acme.gguf"}),
        differences=(
            Difference("launch.model", WEIGHTS, "/home/alice/other/acme-7b.Q8_0.gguf"),
            Difference("launch.argv", '["vllm", "serve", "/data/alice/Acme", "--log=/var/alice/x.log"]', "(not set)"),
            Difference("launch.command", "/opt/alice/bin/serve /mnt/alice/a.gguf", "(not set)"),
            Difference("base_url", "http://gpu-7:8000/deep/alice/v1", "(not set)"),
            Difference("data.mmlu", "...ome/alice/rows", "file:///home/alice/rows"),
            Difference("sampling.top_p", "0.9", "0.95"),
        ),
        notes=(said("see /tmp/alice/server.log: it stopped"), said("POST /v1/chat/completions answers 404")),
        suites=(replace(comparison.suites[0], reasons=(said("/tmp/alice/a/b.png cannot be read"),)),),
        probe=Probe(Verdict.INVALID, (said("/var/alice/models/acme-7b.Q8_0.gguf answers nothing"),), 8, 0, None),
    )


@pytest.mark.parametrize("make", [report, summary])
def test_no_folder_is_printed(comparison, make):
    text = make(with_paths(comparison)).replace("/deep/alice/v1", "")
    assert "alice" not in text
    assert "models" not in text
    assert "acme-7b.Q8_0.gguf" in text


def test_folders_are_printed_where_asked_for(comparison):
    text = report(with_paths(comparison), include_hosts=True)
    assert WEIGHTS in text
    assert "/var/alice/x.log" in text


def test_of_a_path_the_last_part_stays_and_what_differs_still_differs(comparison):
    shown = fit_to_pass_on(with_paths(comparison))
    assert {one.key: (one.reference, one.candidate) for one in shown.differences} == {
        "launch.model": ("…(1)/acme-7b.Q8_0.gguf", "…(2)/acme-7b.Q8_0.gguf"),
        "launch.argv": ('["vllm", "serve", "…/Acme", "--log=…/x.log"]', "(not set)"),
        "launch.command": ("…/serve …/a.gguf", "(not set)"),
        "base_url": (f"http://{HIDDEN}/deep/alice/v1", "(not set)"),
        "data.mmlu": ("…/rows", "file://…/rows"),
        "sampling.top_p": ("0.9", "0.95"),
    }
    assert (shown.reference.model, shown.reference.endpoint["model_path"]) == ("…/Acme-7B", "…/acme-7b.Q8_0.gguf")
    assert shown.candidate.endpoint == {"model_path": "…/acme.gguf"}
    assert told(shown.notes) == ["see …/server.log: it stopped", "POST /v1/chat/completions answers 404"]
    assert told(shown.suites[0].reasons) == ["…/b.png cannot be read"]
    assert told(shown.probe.reasons) == ["…/acme-7b.Q8_0.gguf answers nothing"]
    assert fit_to_pass_on(shown) == shown


@pytest.mark.parametrize(
    "text",
    [
        "1.2 tokens/s",
        "either/or/both",
        "./near/by.gguf",
        "../a/b/c",
        "/health is gone",
        "n/a",
        "Qwen/Qwen3-8B",
        "a / b",
    ],
)
def test_what_is_no_absolute_path_stays(comparison, text):
    assert fit_to_pass_on(replace(comparison, notes=(said(text),))).notes == (said(text),)


def test_annotations_do_not_say_it_either(comparison):
    suites = tuple(
        replace(one, reasons=(said("http://10.20.30.40:80/v1 does not answer"),)) for one in comparison.suites
    )
    text = github_annotations(replace(comparison, suites=suites))
    assert "10.20.30.40" not in text
    assert f"http://{HIDDEN}/v1 does not answer" in text
