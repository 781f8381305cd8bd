"""Redaction: names that say secret, addresses, command lines, and known values wherever they turn up."""

import base64
import html
import json
import re
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from evalkit.config import redact
from evalkit.config.redact import Redactor, is_secret_name, redact_url, redacted, secrets_of_process, spellings


@pytest.mark.parametrize(
    "name",
    ["HF_TOKEN", "api_key", "API-KEY", "apikey", "--api-key", "OPENAI_API_KEY", "password", "DB_PASSWD", "client_secret",
     "Authorization", "AWS_SECRET_ACCESS_KEY", "cookie", "token", "sig", "GOOGLE_CREDENTIALS"],
)  # fmt: skip
def test_names_of_secrets(name):
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    ["max_tokens", "tokenizer", "eos_token", "pad_token", "skip_special_tokens", "api_key_env", "monkey", "top_k",
     "keyboard", "author", "PATH", "--port", "signal", ""],
)  # fmt: skip
def test_names_of_other_things(name):
    assert not is_secret_name(name)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://host:8000/v1", "http://host:8000/v1"),
        ("http://bob:pw@host:8000/v1", "http://***@host:8000/v1"),
        ("http://token@host/v1", "http://***@host/v1"),
        ("http://a@b:c@host/v1", "http://***@host/v1"),
        ("http://host/v1?api-version=2&x=1", "http://host/v1?api-version=2&x=1"),
        ("http://host/v1?api-key=abc&x=1", "http://host/v1?api-key=***&x=1"),
        ("http://[::1", "***"),
    ],
)
def test_addresses(url, shown):
    assert redact_url(url) == shown


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["serve", "--api-key", "a1", "b2", "--port", "80"], ["serve", "--api-key", "***", "***", "--port", "80"]),
        (["serve", "--api-key", "-a1", "--port", "80"], ["serve", "--api-key", "***", "--port", "80"]),
        (["serve", "--api-key=a1", "x"], ["serve", "--api-key=***", "x"]),
        (["sh", "-c", "HF_TOKEN=a1 serve"], ["sh", "-c", "HF_TOKEN=***"]),  # a value may hold spaces
        (["env", "HF_TOKEN=a1", "serve"], ["env", "HF_TOKEN=***", "serve"]),
        (
            ["sh", "-c", "exec env HF_TOKEN='a b' serve --api-key c --port 80"],
            ["sh", "-c", "exec env HF_TOKEN=*** serve --api-key *** --port 80"],
        ),
        (["serve", "--max-tokens", "5", "max_tokens=5"], ["serve", "--max-tokens", "5", "max_tokens=5"]),
        (["curl", "http://u:p@h/x"], ["curl", "http://***@h/x"]),
    ],
)
def test_command_lines(argv, shown):
    assert redacted({"argv": argv}) == {"argv": shown}


def test_headers_and_secret_keys_lose_their_values_whatever_these_are():
    value = {
        "headers": {"X": "a"},
        "env": {"HF_TOKEN": "b", "GPU": "1"},
        "extra_body": {"auth": {"x": "c"}},
        "key": None,
    }
    assert redacted(value) == {
        "headers": {"X": "***"},
        "env": {"HF_TOKEN": "***", "GPU": "1"},
        "extra_body": {"auth": "***"},
        "key": None,
    }


@given(
    secret=st.text(min_size=8, max_size=20).filter(lambda text: "*" not in text),
    before=st.text(max_size=10),
    after=st.text(max_size=10),
)
def test_a_known_secret_turns_up_nowhere(secret, before, after):
    value = {"a": [before + secret + after, {"b": secret}], "c": secret + secret}
    shown = redacted(value, [secret])
    assert secret not in str([shown["a"][0], shown["a"][1]["b"], shown["c"]])


def test_a_short_secret_is_not_looked_for_inside_words():
    assert redacted({"a": "EMPTY handed"}, ["EMPTY"]) == {"a": "EMPTY handed"}


def test_long_hostile_text_takes_no_time_worth_naming():
    texts = ["a" * 100_000, "-" * 100_000, "a-" * 50_000, "a=" * 50_000, "x://" + ":@" * 50_000]
    shown = redacted({"argv": texts})["argv"]
    assert shown[:4] == texts[:4], "there is no secret in them"
    assert len(shown) == len(texts)


# ---------------------------------------------------------------- what an endpoint says


KEY = "sk-Ab12/+Cd34==&x"


@pytest.mark.parametrize(
    "echo",
    [
        KEY,
        KEY.lower(),
        f"Bearer {KEY}",
        KEY[:5] + "\0" + KEY[5:],
        KEY[:5] + "\u200b" + KEY[5:],
        quote(KEY),
        quote(KEY, safe=""),
        html.escape(KEY),
        json.dumps(KEY),
    ],
)
def test_an_echoed_key_is_taken_out(echo):
    shown = Redactor(KEY, {}).clean(f"Incorrect API key provided: {echo}. See the docs.")
    assert "Cd34" not in shown
    assert "[redacted]" in shown
    assert shown.startswith("Incorrect API key provided: ")


def spelled(key):
    """The ways of a server that escapes or encodes what it was sent, one character, some, or all of it."""
    yield "".join(f"\\u{ord(c):04X}" for c in key)
    yield "".join(f"\\\\u{ord(c):04x}" for c in key)
    yield key[:5] + f"\\u{ord(key[5]):04x}" + key[6:]
    yield "".join(f"\\x{ord(c):02x}" for c in key)
    yield "".join(f"%{ord(c):02x}" for c in key)
    yield "".join(f"%25{ord(c):02X}" for c in key)
    yield "".join(f"&#{ord(c)};" for c in key)
    yield "".join(f"&#x{ord(c):x};" for c in key)
    yield json.dumps(json.dumps({"key": key}))
    yield key.replace("/", "\\/")
    yield key.encode().hex()
    yield f"Basic user:{key}, and more".encode().hex().upper()
    for before in ("", "u", "Basic user:", "ab"):
        encoded = base64.b64encode(f"{before}{key}, and more".encode()).decode()
        yield encoded
        yield encoded.replace("+", "-").replace("/", "_")
        yield quote(encoded, safe="")
        yield encoded.replace("/", "\\/")
        yield base64.b64encode(f"{before}{key}".encode()).decode()


# Ones whose base64 has + and / in it, too.
@pytest.mark.parametrize(
    "key",
    [KEY, "sk-proj-0123456789abcdefXYZ", "k?>~?>~?>~?>~?>~", "a.Long_one/+-" * 30],
    ids=["usual", "plain", "signs", "long"],
)
def test_a_key_is_taken_out_however_it_is_spelled(key):
    redactor, known = Redactor(key, {}), [key]
    for said in spelled(key):
        assert "[redacted]" in redactor.clean(said), said
        assert len(redactor.clean(said)) < 80, "and nothing of it is left"
        assert "***" in redacted(said, known), said
        body = json.dumps({"id": said}, ensure_ascii=False).encode()
        assert b"[redacted]" in redactor.body(body), said
        assert b"[redacted]" in redactor.body(said.encode()), said


def test_bodies_that_hold_no_key_stay_as_they_are():
    redactor = Redactor(KEY, {"x-api-key": "sk-proj-0123456789abcdefXYZ"})
    answer = {
        "content": "50% of \u00e9, \u0411, 100%25, %41, &#65; \\x41",
        "id": base64.b64encode(b"something else").decode(),
    }
    for body in (json.dumps(answer).encode(), json.dumps(answer, ensure_ascii=False).encode(), bytes(range(256))):
        assert redactor.body(body) == body


@given(
    st.lists(
        st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=50), min_size=1, max_size=3
    ),
    st.binary(max_size=20),
    st.binary(max_size=20),
)
def test_what_the_quick_look_lets_pass_holds_no_key(keys, before, after):
    found = spellings(keys)
    for key in keys:
        for said in (base64.b64encode(before + key.encode() + after).decode(), *spelled(key)):
            quick = any(run in said.lower() for run in found.runs) or re.search(found.escapes, said.lower())
            assert quick, "else the pattern below is never asked"
            assert re.search(found.pattern, said)


def test_header_values_are_secrets_with_and_without_their_scheme():
    redactor = Redactor(None, {"Authorization": "Basic dXNlcjpwdw==", "x-api-key": "swordfish"})
    shown = redactor.clean("got Basic dXNlcjpwdw== and dXNlcjpwdw== and swordfish")
    assert shown == "got [redacted] and [redacted] and [redacted]"


def test_a_key_in_the_query_of_an_address_is_a_secret():
    urls = (
        "http://h/v1?subscription-key=swordfish-1&api-version=2024",
        "http://h/v1?code=open%2Fsesame",
        "http://h/v1",
    )
    redactor = Redactor(None, {}, urls)
    said = "no such path /v1/x?subscription-key=swordfish-1&api-version=2024 code=open%2Fsesame (open/sesame)"
    assert redactor.clean(said) == (
        "no such path /v1/x?subscription-key=[redacted]&api-version=2024 code=[redacted] ([redacted])"
    )
    assert redactor.body(b'{"id": "swordfish-1"}') == b'{"id": "[redacted]"}'


def test_without_secrets_text_stays():
    assert Redactor(None, {}).clean("a b\tc\r\nd\x1b[31me") == "a b c d[31me"
    assert Redactor("", {"x": "1"}).clean("x is 1") == "x is 1"


@given(
    st.text(min_size=4, max_size=60).filter(lambda key: key.strip()),
    st.lists(st.text(max_size=60), min_size=1, max_size=6),
    st.integers(0, 12_000),
)
def test_no_key_survives_anywhere(key, texts, padding):
    assume(key.lower() not in "[redacted]…")
    said = " " * padding + "y" * padding + key.join(texts) + key
    shown = Redactor(key, {}).clean(said)
    assert len(shown) <= redact.DETAIL_CHARACTERS
    assert shown.isprintable()
    visible = redact._printable(key)
    assume(visible and visible.lower() not in "[redacted]…" and visible not in "y" * 600)
    assert visible not in shown


@given(st.integers(9_900, 10_000), st.integers(0, 40))
def test_a_key_at_the_cut_of_a_long_text_is_not_shown_in_part(position, invisible):
    said = "\0" * position + "\0" * invisible + KEY + "z" * 5000
    assert KEY[:8] not in Redactor(KEY, {}).clean(said)


def test_the_secrets_of_a_process_are_those_of_its_variables_and_options():
    argv = ("serve", "--api-key", "from-an-option", "--token=inside-an-option", "--port", "8000")
    found = secrets_of_process(
        argv, {"MY_TOKEN": "from-a-variable", "PWD": "/home/somebody"}, ["known-before", "short"]
    )
    assert {"from-an-option", "inside-an-option", "from-a-variable", "known-before"} <= set(found)
    assert not {"/home/somebody", "short", "8000"} & set(found)


@pytest.mark.parametrize("separator", [":", " ", "-"])
def test_a_key_in_separated_hex_is_taken_out(separator):
    said = separator.join(f"{byte:02x}" for byte in KEY.encode())
    for one in (said, said.upper()):
        redactor = Redactor(KEY, {})
        assert redactor.clean(f"id {one}.") == "id [redacted]."
        assert redactor.body(f'{{"id": "{one}"}}'.encode()) == b'{"id": "[redacted]"}'
        assert redacted(one, [KEY]) == "***"


def test_a_basic_password_and_a_cookie_are_secrets_in_clear():
    word = base64.b64encode(b"alice:open-sesame-1").decode()
    redactor = Redactor(None, {"Authorization": f"Basic {word}", "Cookie": "lang=en; session=q7w8e9r0t1"})
    assert redactor.clean("user alice, password open-sesame-1, session q7w8e9r0t1") == (
        "user alice, password [redacted], session [redacted]"
    )
    assert redactor.body(b"alice:open-sesame-1 q7w8e9r0t1 en") == b"[redacted] [redacted] en"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KEYRING", "k1"),
        ("OPENAI_API_KEYS", "sk-one,sk-two"),
        ("GITHUB_PAT", "x"),
        ("AWS_ACCESS_KEY_ID", "AKIA1"),
        ("HF_TOKENS", "hf_one"),
        ("DB_URL", "postgres://user:open-sesame@db/x"),
        ("WRAP", "--header 'X: remembered-key-1' -v"),
    ],
)
def test_no_server_is_handed_a_key_whatever_holds_it(name, value, monkeypatch):
    monkeypatch.setattr(redact, "_said", {"remembered-key-1"})
    assert redact.withheld({name: value}) == [name]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VLLM_MAX_TOKENS", "4096"),
        ("PATH", "/usr/bin"),
        ("PWD", "/home/me"),
        ("COMPASS", "north"),
        ("https_proxy", "http://user:pw@proxy:3128"),
        ("HF_ENDPOINT", "https://hf-mirror.com"),
        ("CUDA_VISIBLE_DEVICES", "0,1"),
    ],
)
def test_what_a_server_needs_is_handed_on(name, value):
    assert redact.withheld({name: value}) == []


def test_a_password_in_an_address_is_a_secret_of_the_process_by_itself():
    assert "open-sesame" in secrets_of_process((), {"DB_URL": "postgres://user:open-sesame@db/x"})
