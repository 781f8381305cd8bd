"""TLS, proxies and addresses: what both clients share below them."""

import shutil
import socket
import ssl
import subprocess

import pytest
from loopback import OK_BODY, chat, says
from yarl import URL

from evalkit.endpoint import open_client
from evalkit.endpoint.http import (
    Answer,
    Transport,
    _kept_alive_socket,
    _redirected,
    endpoint_url,
    environment_proxy,
    place,
    server_root,
)
from evalkit.endpoint.settings import ClientSettings
from evalkit.errors import ConfigError
from evalkit.model import FailureKind, Reply

PROXY_VARIABLES = [
    name for scheme in ("http", "https", "all", "no") for name in (f"{scheme}_proxy", f"{scheme}_PROXY".upper())
]


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch):
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that no authority knows, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("the openssl program is needed to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    asked = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1"
    names = "-addext subjectAltName=IP:127.0.0.1"
    command = [*asked.split(), *names.split(), "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


@pytest.fixture
def tls(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


async def ask(url, kind="aiohttp", **settings):
    client = open_client(ClientSettings(**{"base_urls": (url,), "model": "tiny"} | settings), kind)
    try:
        return await client.ask(chat())
    finally:
        await client.close()


@pytest.mark.parametrize("kind", ["aiohttp", "openai"])
async def test_certificates_are_verified_unless_told_otherwise(serve, tls, certificate, kind):
    server = await serve(says(), tls=tls)
    refused = await ask(server.url, kind)
    assert refused.kind is FailureKind.CONNECTION
    assert "ca_file" in refused.detail
    assert not server.received
    assert isinstance(await ask(server.url, kind, ca_file=certificate[0]), Reply)
    assert isinstance(await ask(server.url, kind, tls_verify=False), Reply)


async def test_a_certificate_for_another_name_is_refused(serve, tls, certificate):
    server = await serve(says(), tls=tls)
    refused = await ask(server.url.replace("127.0.0.1", "localhost"), ca_file=certificate[0])
    assert refused.kind is FailureKind.CONNECTION


async def test_https_to_a_server_without_it_says_so(serve):
    server = await serve(says())
    failure = await ask(server.url.replace("http://", "https://"))
    assert failure.kind is FailureKind.CONNECTION
    assert "does it speak plain http?" in failure.detail


@pytest.mark.parametrize("kind", ["aiohttp", "openai"])
async def test_requests_go_through_the_proxy_of_the_environment(serve, monkeypatch, kind):
    proxy = await serve(says())
    monkeypatch.setenv("HTTP_PROXY", proxy.origin.replace("http://", "http://user:secret@"))
    assert isinstance(await ask("http://model.invalid/v1", kind), Reply)
    (received,) = proxy.received
    assert (received.host, received.path) == ("model.invalid", "/v1/chat/completions")
    assert received.headers["proxy-authorization"].startswith("Basic ")


async def test_no_proxy_is_heeded_and_this_machine_is_never_proxied(serve, monkeypatch):
    proxy, server = await serve(says()), await serve(says())
    monkeypatch.setenv("http_proxy", proxy.origin)
    monkeypatch.setenv("NO_PROXY", ".invalid")
    assert (await ask("http://model.invalid/v1")).kind is FailureKind.CONNECTION
    assert isinstance(await ask(server.url), Reply)
    assert not proxy.received


async def test_a_redirect_into_an_unusable_proxy_is_a_failure(serve, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", (await serve(says(b"", 308, Location="https://model.invalid/v1/x"))).origin)
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:1")
    failure = await ask("http://model.invalid/v1")
    assert failure.kind is FailureKind.CONNECTION
    assert "HTTPS_PROXY" in failure.detail


async def test_a_proxy_that_cannot_be_reached_is_named_without_its_password(monkeypatch, unused_tcp_port):
    monkeypatch.setenv("HTTP_PROXY", f"http://user:secret@127.0.0.1:{unused_tcp_port}")
    failure = await ask("http://model.invalid/v1")
    assert failure.kind is FailureKind.CONNECTION
    assert f"the proxy 127.0.0.1:{unused_tcp_port}" in failure.detail
    assert "secret" not in failure.detail


@pytest.mark.parametrize(("status", "kind"), [(407, FailureKind.AUTH), (502, FailureKind.CONNECTION)])
async def test_a_proxy_that_refuses_a_tunnel(serve, monkeypatch, status, kind):
    proxy = await serve(says(b"no", status))
    monkeypatch.setenv("HTTPS_PROXY", proxy.origin)
    failure = await ask("https://model.invalid/v1")
    assert failure.kind is kind
    assert proxy.received[0].method == "CONNECT"


@pytest.mark.parametrize(
    ("environment", "url", "proxy"),
    [
        ({}, "http://a.example/v1", None),
        ({"http_proxy": "http://p:1"}, "http://a.example/v1", "http://p:1"),
        ({"http_proxy": "p:1"}, "http://a.example/v1", "http://p:1"),
        ({"http_proxy": "http://p:1"}, "https://a.example/v1", None),
        ({"https_proxy": "http://p:1"}, "https://a.example/v1", "http://p:1"),
        ({"ALL_PROXY": "http://p:1"}, "https://a.example/v1", "http://p:1"),
        ({"ALL_PROXY": "http://p:1", "http_proxy": "http://q:2"}, "http://a.example/v1", "http://q:2"),
        ({"http_proxy": "http://p:1", "no_proxy": "a.example"}, "http://a.example/v1", None),
        ({"http_proxy": "http://p:1", "no_proxy": "a.example:8000"}, "http://a.example:8000/v1", None),
        ({"http_proxy": "http://p:1", "no_proxy": "a.example:8000"}, "http://a.example:8001/v1", "http://p:1"),
        ({"http_proxy": "http://p:1", "no_proxy": "*"}, "http://a.example/v1", None),
        ({"http_proxy": "http://p:1"}, "http://localhost:8000/v1", None),
        ({"http_proxy": "http://p:1"}, "http://127.0.0.7:8000/v1", None),
        ({"http_proxy": "http://p:1"}, "http://[::1]:8000/v1", None),
    ],
)
def test_which_proxy(monkeypatch, environment, url, proxy):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = environment_proxy(URL(url))
    assert (str(found.url).rstrip("/") if found else None) == proxy


def test_a_proxys_password_is_kept_apart_from_its_address(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://user:p%40ss@p:1")
    found = environment_proxy(URL("http://a.example/v1"))
    assert (found.url, found.auth.login, found.auth.password) == (URL("http://p:1"), "user", "p@ss")
    assert "ss" not in repr(found)


@pytest.mark.parametrize("address", ["socks5://user:secret@p:1", "http://", "http://p:port"])
def test_a_proxy_of_another_kind_is_refused_with_a_sentence(monkeypatch, address):
    monkeypatch.setenv("ALL_PROXY", address)
    with pytest.raises(ConfigError, match="ALL_PROXY") as refused:
        open_client(ClientSettings(("http://a.example/v1",), "tiny"))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("base", "url"),
    [
        ("http://h:1/v1", "http://h:1/v1/models"),
        ("http://h:1/v1/", "http://h:1/v1/models"),
        ("http://h:1", "http://h:1/models"),
        ("https://h/team%20a/v1?x=1", "https://h/team%20a/v1/models?x=1"),
    ],
)
def test_addresses(base, url):
    assert str(endpoint_url(base, "/models")) == url
    assert "?" not in place(endpoint_url(base, "/models"))


@pytest.mark.parametrize(
    ("base", "page"),
    [
        ("http://h:8/v1", "http://h:8/props"),
        ("http://h:8/v1/", "http://h:8/props"),
        ("http://h/llm/v1?api-version=7", "http://h/llm/props?api-version=7"),
        ("http://h/v1?api-version=7", "http://h/props?api-version=7"),
        ("http://h", "http://h/props"),
        ("https://h/v10", "https://h/v10/props"),
    ],
)
def test_a_servers_own_pages_lie_beside_its_api(base, page):
    assert str(endpoint_url(server_root(base), "/props")) == page


@pytest.mark.parametrize("base", ["http://a..b/v1", "http://" + "a" * 70 + "é.example/v1"])
def test_an_address_that_cannot_be_is_the_users_to_mend(base):
    with pytest.raises(ConfigError):
        open_client(ClientSettings((base,), "tiny"))


@pytest.mark.parametrize(
    ("url", "target", "followed"),
    [
        ("http://a/v1", "/v2", "http://a/v2"),
        ("http://a/v1", "http://a:80/v2", "http://a/v2"),
        ("http://a/v1", "https://a/v1", "https://a/v1"),
        ("http://a/v1", "https://me:pw@a/v1", "https://a/v1"),
        ("http://a:8000/v1", "https://a/v1", None),
        ("http://a/v1", "https://a:8443/v1", None),
        ("http://a:8000/v1", "http://a:8001/v1", None),
        ("https://a/v1", "http://a/v1", None),
        ("http://a/v1", "http://b/v1", None),
        ("http://a/v1", "//b/v1", None),
    ],
)
def test_where_a_redirect_may_lead(url, target, followed):
    outcome = _redirected("POST", URL(url), Answer(308, {"Location": target}, b""))
    if followed is None:
        assert outcome.kind is FailureKind.REDIRECT
    else:
        assert str(outcome) == followed


def test_sockets_show_signs_of_life():
    made = _kept_alive_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 80)))
    with made:
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60


async def test_a_get_follows_redirects_that_a_post_does_not(serve):
    server = await serve(says(b"", 302, Location="/other"), says())
    transport = Transport(ClientSettings((server.url,), "tiny"))
    answer = await transport.exchange("GET", URL(server.url + "/models"))
    await transport.close()
    assert answer.body == OK_BODY
