"""What aiohttp raises, as a `Failure` with words for people: which end of the line broke, and what may mend it."""

from __future__ import annotations

import os
import socket
import ssl

import aiohttp

from evalkit.endpoint.client import ClientSettings
from evalkit.model import Failure, FailureKind


def of_trouble(
    error: aiohttp.ClientError | OSError, where: str, settings: ClientSettings, silence: float | None = None
) -> Failure:
    """Classify a transport error; `where` is the address for people, `silence` how long was waited for a byte."""
    kind = FailureKind.CONNECTION
    status = None
    match error:
        case aiohttp.ConnectionTimeoutError():
            detail = f"no connection to {where} within {settings.connect_seconds:g} s"
        case TimeoutError():  # aiohttp's SocketTimeoutError is one: nothing was read for so long
            kind = FailureKind.STALL
            detail = f"{where} sent nothing for {silence or settings.between_pieces:g} s"
        case aiohttp.ClientHttpProxyError():
            kind = FailureKind.AUTH if error.status == 407 else FailureKind.CONNECTION
            status = error.status
            detail = f"the proxy would not connect to {where}: HTTP {status} {error.message}"
        case aiohttp.ClientResponseError():
            kind = FailureKind.MALFORMED
            detail = f"{where} does not speak HTTP as it should: {error.message}"
        case aiohttp.ClientPayloadError() if _is_encoding(error):
            kind = FailureKind.MALFORMED
            detail = f"the answer of {where} cannot be decompressed"
        case aiohttp.ClientPayloadError():
            detail = f"the connection to {where} was lost in the middle of the answer"
        case aiohttp.InvalidURL():
            kind = FailureKind.BAD_REQUEST
            detail = f"{where} is an address that cannot be used"
        case _:
            detail = _connection_detail(error, where)
    return Failure(kind, detail, status=status)


def _connection_detail(error: aiohttp.ClientError | OSError, where: str) -> str:
    """What happened to a connection that was not made, or did not last."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):  # the one connector error without an OSError
        return (
            f"the TLS certificate of {where} was not accepted: {error.certificate_error}; "
            "for a private authority give its PEM file as tls: ca_file"
        )
    reason = _reason(error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error)
    match error:
        case aiohttp.ClientConnectorSSLError():
            detail = f"no TLS with {where}: {reason}; does it speak plain http?"
        case aiohttp.ClientConnectorDNSError():
            detail = f"the host name of {where} cannot be resolved: {reason}"
        case aiohttp.ClientProxyConnectionError():
            detail = f"the proxy {error.host}:{error.port} on the way to {where} cannot be reached: {reason}"
        case aiohttp.ClientConnectorError():
            detail = f"no connection to {where}: {reason}"
        case aiohttp.ServerDisconnectedError():
            detail = f"{where} closed the connection without an answer"
        case _:
            detail = f"the connection to {where} broke: {reason}"
    return detail


def _is_encoding(error: BaseException | None) -> bool:
    """True where the damage is in the answer's compression: the server's fault, not the line's."""
    while error is not None:
        if "content-encoding" in str(error).lower():
            return True
        error = error.__cause__
    return False


def _reason(error: BaseException) -> str:
    """The operating system's words for it, where it has any."""
    if isinstance(error, ssl.SSLError):
        return error.reason or str(error)
    if isinstance(error, socket.gaierror):
        return str(error.strerror)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__
