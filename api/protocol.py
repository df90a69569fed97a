"""HTTP/1.1 with patience limits that only the connection itself can keep."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

SLOW_CLIENT_S = 30.0


class PatientProtocol(H11Protocol):
    """Closes a connection whose head does not arrive, or whose answer is not read, in time.

    Bodies that arrive slowly are timed by the middleware, which can still answer.
    """

    patience_s = SLOW_CLIENT_S
    _head_timer: asyncio.TimerHandle | None = None
    _reading_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Start to wait for a request."""
        super().connection_made(transport)
        self._head_timer = self.loop.call_later(self.patience_s, self._give_up_on_head)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop every timer."""
        for timer in (self._head_timer, self._reading_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """Read what came; a head is timed from its connection, or from its first byte."""
        cycle = self.cycle
        super().handle_events()
        if self.cycle is not cycle and self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        elif self._head_timer is None and self._between_requests() and self.conn.trailing_data[0]:
            self._head_timer = self.loop.call_later(self.patience_s, self._give_up_on_head)

    def pause_writing(self) -> None:
        """Wait for the client to read; called when the buffer is full."""
        super().pause_writing()
        self._reading_timer = self.loop.call_later(self.patience_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on; the client has read."""
        if self._reading_timer is not None:
            self._reading_timer.cancel()
            self._reading_timer = None
        super().resume_writing()

    def _between_requests(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _give_up_on_head(self) -> None:
        self._head_timer = None
        if self._between_requests() and not self.transport.is_closing():
            self.transport.close()
