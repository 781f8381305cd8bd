"""Settings, and which client is opened."""

import subprocess
import sys

import pytest

from evalkit.endpoint import open_client
from evalkit.endpoint.client import AiohttpClient
from evalkit.endpoint.openai_client import OpenAIClient
from evalkit.endpoint.settings import ClientSettings
from evalkit.errors import ConfigError

URL = "http://127.0.0.1:8000/v1"


def test_settings_show_no_secrets():
    settings = ClientSettings((URL,), "tiny", api_key="sk-secret", headers={"X-Key": "sk-other"})
    assert "sk-" not in repr(settings)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"base_urls": ()}, "base_urls is empty"),
        ({"base_urls": ("127.0.0.1:8000",)}, "must look like"),
        ({"base_urls": ("ftp://host/v1",)}, "must look like"),
        ({"base_urls": ("http://",)}, "must look like"),
        ({"base_urls": ("http://host:99999/v1",)}, "must look like"),
        ({"base_urls": (URL, "http://me:pw@host/v1")}, "holds a user name or password"),
        ({"connect_seconds": 0}, "connect_seconds is 0"),
        ({"stall_seconds": -1.0}, "stall_seconds is -1.0"),
        ({"total_seconds": 0.0}, "total_seconds is 0.0"),
        ({"stall_seconds": float("nan")}, "stall_seconds is nan"),
        ({"max_body_bytes": 0}, "max_body_bytes is 0"),
        ({"concurrency": 0}, "concurrency is 0"),
        ({"api_key": "sk-secret\n"}, "line break"),
        ({"headers": {"X-Key": "sk-secret\r\nX: y"}}, "line break"),
    ],
)
def test_settings_that_cannot_work_are_refused(change, says):
    with pytest.raises(ConfigError) as refused:
        ClientSettings(**{"base_urls": (URL,), "model": "tiny"} | change)
    assert says in str(refused.value)
    assert "pw" not in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("stall_seconds", "fields", "before", "between"),
    [
        (None, {}, 600, 600),
        (None, {"max_tokens": 2048}, 600, 600),
        (None, {"max_tokens": 38_912}, 38_912 / 5, 600),
        (None, {"max_completion_tokens": 38_912}, 38_912 / 5, 600),
        (None, {"max_tokens": None}, 600, 600),
        (None, {"max_tokens": "many"}, 600, 600),
        (30.0, {"max_tokens": 38_912}, 30, 30),
        (9999.0, {"max_tokens": 1}, 9999, 9999),
    ],
)
def test_silence_is_borne_for_as_long_as_the_longest_answer_may_take(stall_seconds, fields, before, between):
    settings = ClientSettings((URL,), "tiny", stall_seconds=stall_seconds)
    assert settings.before_answer(fields) == before
    assert settings.between_pieces == between
    if stall_seconds is None and fields.get("max_tokens") == 38_912:
        assert before > 38_912 / 10, "at ten tokens a second the answer survives, with room for a queue"


def test_an_authority_file_must_be_there_and_be_one(tmp_path):
    with pytest.raises(ConfigError, match="is not a file"):
        ClientSettings((URL,), "tiny", ca_file=tmp_path / "absent.pem")
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    with pytest.raises(ConfigError, match="cannot be read as a PEM file"):
        ClientSettings((URL,), "tiny", ca_file=wrong)


@pytest.mark.parametrize(("kind", "made"), [("aiohttp", AiohttpClient), ("openai", OpenAIClient)])
async def test_a_client_is_opened_by_name_and_closed_unused(kind, made):
    client = open_client(ClientSettings((URL,), "tiny"), kind)
    assert type(client) is made
    await client.close()


def test_the_seam_imports_no_client_before_one_is_opened():
    code = (
        "import sys\nfrom evalkit.endpoint import open_client\nfrom evalkit.endpoint.settings import ClientSettings\n"
        "assert not {'aiohttp', 'openai', 'orjson', 'yarl'} & set(sys.modules)\n"
        f"open_client(ClientSettings(({URL!r},), 'tiny'))\n"
        "assert 'aiohttp' in sys.modules and 'openai' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
