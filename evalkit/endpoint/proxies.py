"""Which proxy the environment asks for: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in either case.

Worked out once for an address. aiohttp's own `trust_env` asks again for every request, in a thread, and reads the
password file `~/.netrc` besides, which an endpoint of evalkit must not get to see.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from urllib.request import getproxies_environment, proxy_bypass

import aiohttp
from yarl import URL

from evalkit.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy's address without credentials, and the credentials."""

    url: URL
    auth: aiohttp.BasicAuth | None = field(default=None, repr=False)


def environment_proxy(url: URL) -> Proxy | None:
    """The proxy for an address, None where it is to be reached directly; this machine itself always is.

    Raises:
        ConfigError: the variable holds no address, or one of a kind that cannot be used (SOCKS).
    """
    proxies = getproxies_environment()
    host = url.host or ""
    if not proxies or _is_this_machine(host):
        return None
    name = url.scheme if url.scheme in proxies else "all"
    address = proxies.get(name)
    if not address or proxy_bypass(f"{host}:{url.port}", proxies):
        return None
    try:
        proxy = URL(address if "://" in address else f"http://{address}")
        usable = proxy.scheme in {"http", "https"} and bool(proxy.host)
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(
            f"{name.upper()}_PROXY of the environment is no http:// or https:// address, the only kinds of proxy that "
            f"can be used: change it, or add {host} to NO_PROXY"
        )
    auth = aiohttp.BasicAuth(proxy.user, proxy.password or "") if proxy.user else None
    return Proxy(proxy.with_user(None), auth)


def _is_this_machine(host: str) -> bool:
    """A request to localhost that went through a proxy would reach the proxy's own machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
