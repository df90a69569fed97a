"""Around every request: its id, its log line, its metrics, limits on its body, safe headers."""

from __future__ import annotations

import asyncio
import re
import time
import traceback
import uuid
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.auth import check_host_name, check_listening
from api.errors import ClientGone, ServiceError, response_for
from api.service import Service
from api.telemetry import METHODS

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
DISCARD_S = 2.0  # reading on after a refusal, so that the client gets to see it
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-store",
}


class Watch:
    """One request on its way through the app."""

    def __init__(self, service: Service, scope: Scope, receive: Receive, send: Send) -> None:
        self.service, self.scope = service, scope
        self._receive, self._send = receive, send
        self.begun = time.perf_counter()
        given = Headers(scope=scope).get("x-request-id", "")
        self.id = given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        self.status = 0  # nothing sent yet
        self.n_bytes = 0
        self._body_complete = False
        state = scope.setdefault("state", {})
        state["request_id"], state["facts"], state["error_code"] = self.id, {}, None
        state["begun"] = self.begun

    async def receive(self) -> Message:
        """Next part of the body, counted and timed.

        Raises
        ------
        ServiceError
            413 if there is too much of it, 408 if it comes too slowly.
        """
        if self._body_complete:
            return await self._receive()
        settings = self.service.settings
        left = self.begun + settings.slow_client_s - time.perf_counter()
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0.0))
        except TimeoutError:
            raise ServiceError(
                "slow_client",
                f"the request did not arrive within {settings.slow_client_s:g} s",
                status=408,
                headers={"Connection": "close"},
            ) from None
        if message["type"] == "http.request":
            self.n_bytes += len(message.get("body", b""))
            self._body_complete = not message.get("more_body", False)
            if self.n_bytes > settings.max_body_bytes:
                raise too_large(settings.max_body_bytes)
        return message

    async def send(self, message: Message) -> None:
        """Answer, with the headers that every answer has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self.id
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            if self.scope["path"] == "/docs":  # loads its scripts from elsewhere; off by default
                del headers["Content-Security-Policy"]
            if self.status in (408, 413):
                await self.discard()
        await self._send(message)

    async def discard(self) -> None:
        """Read on for a moment: a client that is still sending would miss the answer."""
        deadline = time.perf_counter() + DISCARD_S
        seen = 0
        while not self._body_complete and seen < self.service.settings.max_body_bytes:
            left = deadline - time.perf_counter()
            try:
                message = await asyncio.wait_for(self._receive(), max(left, 0.0))
            except TimeoutError:
                return
            seen += len(message.get("body", b""))
            gone = message["type"] == "http.disconnect"
            self._body_complete = gone or not message.get("more_body", False)

    def check_entry(self) -> None:
        """Refuse before anything is read.

        Raises
        ------
        ServiceError
            403 from elsewhere without keys, 413 for a body that is announced as too large.
        """
        service, headers = self.service, Headers(scope=self.scope)
        server = self.scope.get("server") or ("", None)
        check_listening(server[0], service.keys, service.settings)
        check_host_name(headers.get("host", ""), service.keys, service.settings)
        announced = headers.get("content-length", "")
        if announced.isdigit() and int(announced) > service.settings.max_body_bytes:
            raise too_large(service.settings.max_body_bytes)

    async def refuse(self, error: ServiceError) -> None:
        """Answer an error that no route has answered."""
        self.scope["state"]["error_code"] = error.code
        answer = response_for(error, self.id, self.scope["path"])
        await answer(self.scope, self.receive, self.send)

    def finish(self) -> None:
        """Count and log."""
        seconds = time.perf_counter() - self.begun
        state, metrics = self.scope["state"], self.service.metrics
        route = getattr(self.scope.get("route"), "path", "unmatched")
        method = self.scope["method"] if self.scope["method"] in METHODS else "other"
        status = self.status or 499  # nobody was there to be answered
        metrics.requests.labels(route, method, str(status)).inc()
        metrics.latency.labels(route).observe(seconds)
        if state["error_code"] is not None:
            metrics.rejected(state["error_code"])
        facts: dict[str, Any] = {"error": state["error_code"]} if state["error_code"] else {}
        self.service.log.info(
            "request",
            request_id=self.id,
            method=method,
            route=route,
            status=status,
            total_s=round(seconds, 6),
            body_bytes=self.n_bytes,
            **facts,
            **state["facts"],
        )


def too_large(limit: int) -> ServiceError:
    """A 413."""
    return ServiceError(
        "body_too_large",
        f"the body is larger than {limit} bytes",
        status=413,
        headers={"Connection": "close"},
    )


class Boundary:
    """ASGI middleware that lets nothing out but answers."""

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self.app, self.service = app, service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        watch = Watch(self.service, scope, receive, send)
        try:
            watch.check_entry()
            await self.app(scope, watch.receive, watch.send)
        except ServiceError as error:
            await watch.refuse(error)
        except (ClientGone, ClientDisconnect):
            scope["state"]["error_code"] = "disconnected"
        except Exception as error:
            await self._confess(watch, error)
        finally:
            watch.finish()

    async def _confess(self, watch: Watch, error: Exception) -> None:
        # The text of an exception can hold values; its type and place cannot.
        frames = traceback.extract_tb(error.__traceback__)[-6:]
        self.service.log.error(
            "failure",
            request_id=watch.id,
            error=type(error).__name__,
            where=[f"{frame.filename}:{frame.lineno}" for frame in frames],
        )
        if watch.status == 0:
            await watch.refuse(ServiceError("internal", "the service failed", status=500))
