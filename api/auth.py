"""API keys: several at once, kept as digests, compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer
from fastapi.security.http import HTTPAuthorizationCredentials

from api.errors import ServiceError
from api.settings import Settings

_LINE = re.compile(r"(api|admin)\s+([0-9a-fA-F]{64})")
_NAMED = APIKeyHeader(name="X-API-Key", auto_error=False, description="an API key")
_BEARER = HTTPBearer(auto_error=False, description="an API key")
LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})


def digest(key: str) -> str:
    """SHA-256 of a key in hexadecimal, as the settings want it."""
    return hashlib.sha256(key.encode()).hexdigest()


@dataclass(frozen=True)
class Keys:
    """Digests of the keys that are valid now; an admin key also opens what an API key opens."""

    api: tuple[str, ...] = ()
    admin: tuple[str, ...] = ()

    @property
    def anonymous(self) -> bool:
        """Whether there is no key at all."""
        return not (self.api or self.admin)

    def check(self, presented: str | None, admin: bool) -> None:
        """Refuse a request without a valid key.

        Raises
        ------
        ServiceError
            401 without a valid key, 403 where an admin key is needed.
        """
        if self.anonymous:
            return
        if presented is None:
            raise _unauthorized("a key is needed: X-API-Key, or Authorization: Bearer")
        found = digest(presented)
        is_admin = _among(found, self.admin)
        if not is_admin and not _among(found, self.api):
            raise _unauthorized("the key is not valid")
        if admin and not is_admin:
            raise ServiceError("forbidden", "an admin key is needed", status=403)


def _among(found: str, digests: tuple[str, ...]) -> bool:
    matches = [hmac.compare_digest(found, known) for known in digests]  # all of them, each time
    return any(matches)


def _unauthorized(message: str) -> ServiceError:
    return ServiceError("unauthorized", message, status=401, headers={"WWW-Authenticate": "Bearer"})


def read_keys(settings: Settings) -> Keys:
    """Keys of the settings and of the keys file.

    Raises
    ------
    ValueError
        If a line of the file is something else than "api <digest>" or "admin <digest>".
    OSError
        If the file cannot be read.
    """
    api, admin = list(settings.api_keys), list(settings.admin_keys)
    lines = [] if settings.keys_file is None else settings.keys_file.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        text = line.split("#")[0].strip()
        if not text:
            continue
        match = _LINE.fullmatch(text)
        if match is None:
            raise ValueError(f"line {number} of the keys file is not 'api|admin <SHA-256>'")
        (api if match[1] == "api" else admin).append(match[2].lower())
    return Keys(tuple(api), tuple(admin))


def presented_key(headers: Mapping[str, str]) -> str | None:
    """The key that a request brings, if any."""
    named = headers.get("x-api-key")
    if named:
        return named
    scheme, _, value = headers.get("authorization", "").partition(" ")
    return value.strip() or None if scheme.lower() == "bearer" else None


async def need_key(
    request: Request,
    _named: Annotated[str | None, Security(_NAMED)] = None,
    _bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)] = None,
) -> None:
    """Let in who has a valid key."""
    request.app.state.service.keys.check(presented_key(request.headers), admin=False)


async def need_admin_key(
    request: Request,
    _named: Annotated[str | None, Security(_NAMED)] = None,
    _bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)] = None,
) -> None:
    """Let in who has a valid admin key."""
    request.app.state.service.keys.check(presented_key(request.headers), admin=True)


def is_loopback(host: str) -> bool:
    """Whether an address reaches this machine only."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def check_listening(host: str, keys: Keys, settings: Settings) -> None:
    """Refuse to be reached from elsewhere without keys.

    Raises
    ------
    ServiceError
        403, naming what to set.
    """
    if keys.anonymous and not settings.allow_anonymous and not is_loopback(host):
        raise ServiceError(
            "keys_needed",
            "this service has no keys and is meant for this machine only; set TSIMPUTE_API_KEYS "
            "or TSIMPUTE_KEYS_FILE, or TSIMPUTE_ALLOW_ANONYMOUS=true",
            status=403,
        )


def check_host_name(host: str, keys: Keys, settings: Settings) -> None:
    """Without keys, refuse names that a foreign page could have pointed at this machine.

    Raises
    ------
    ServiceError
        403.
    """
    name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
    if keys.anonymous and not settings.allow_anonymous and name not in LOCAL_NAMES:
        raise ServiceError("keys_needed", "without keys only localhost is answered", status=403)
