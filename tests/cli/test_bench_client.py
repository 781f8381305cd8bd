"""`evalkit bench-client` measures what it says, with either client, and leaves no server behind."""

import json
import os

import canned
import pytest
from asking import Load, report


@pytest.mark.parametrize("more", [(), ("--stream",), ("--client", "openai")])
def test_every_row_is_measured(invoke, more):
    done = invoke("bench-client", "--requests", 60, "--concurrency", 4, "--json", *more)
    report = json.loads(done.out)
    assert done.code == 0
    assert [row["way"] for row in report["rows"]] == ["floor", "client", "run"]
    assert all(row["requests_per_second"] > 0 < row["cpu_ms_per_request"] for row in report["rows"])
    assert (report["in_flight"], report["stream"]) == (4, "--stream" in more)


def test_the_table_names_its_rows(invoke):
    lines = invoke("bench-client", "--requests", 30, "--concurrency", 2).out.splitlines()
    assert [line[:28].strip() for line in lines[2:]] == [
        "aiohttp and JSON alone",
        "evalkit's client",
        "client, pool, journal",
    ]


def test_its_server_ends_with_it(monkeypatch):
    servers = []
    original = canned.subprocess.Popen

    def popen(*arguments, **named):
        servers.append(original(*arguments, **named))
        return servers[-1]

    monkeypatch.setattr(canned.subprocess, "Popen", popen)
    report(Load(requests=8, in_flight=2))
    (server,) = servers
    assert server.returncode is not None
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


def test_a_server_that_does_not_start_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(canned, "__file__", str(tmp_path / "there_is_none.py"))
    with pytest.raises(OSError, match="did not start"):
        report(Load(requests=8, in_flight=2))
