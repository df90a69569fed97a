"""Start, signals and the end."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI

from api.service import Service
from api.telemetry import silence_access_log


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Load models while health is already answered; drain at the end."""
    service: Service = app.state.service
    silence_access_log()
    service.start()
    loading = asyncio.create_task(_load(service))
    ending: set[asyncio.Task[None]] = set()
    with _signals(service, ending):
        service.log.info("started", devices=service.registry.devices)
        yield
    for task in (loading, *ending):
        task.cancel()
    await asyncio.gather(loading, *ending, return_exceptions=True)
    await asyncio.to_thread(service.stop)
    service.log.info("stopped")


async def _load(service: Service) -> None:
    if service.settings.models_dir is None:
        await _make_demo_model(service)
    await service.reload()


async def _make_demo_model(service: Service) -> None:
    """Train the demonstration model in a process of its own, unless it is there already."""
    folder = service.settings.models_path / "demo" / "1"
    if (folder / "FORMAT_VERSION").is_file():
        return
    service.log.info("training", model="demo", folder=str(folder))
    command = (sys.executable, "-m", "api.demo_model", str(folder))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    try:
        code = await process.wait()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
    if code:
        service.log.error("training", model="demo", exit_code=code)


class _signals:
    """While inside, SIGTERM drains and SIGHUP reloads; where signals can be caught at all."""

    def __init__(self, service: Service, tasks: set[asyncio.Task[None]]) -> None:
        self.service, self.tasks = service, tasks
        self.before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> None:
        self.loop = asyncio.get_running_loop()
        for number, handler in (
            (signal.SIGTERM, self._terminate),
            (signal.SIGHUP, self._reload),
        ):
            before = signal.getsignal(number)
            try:
                self.loop.add_signal_handler(number, handler)
            except (RuntimeError, ValueError, NotImplementedError):
                return  # not in the main thread, as in tests
            self.before[number] = before

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            self.loop.remove_signal_handler(number)
            signal.signal(number, handler)

    def _terminate(self) -> None:
        server = getattr(self.before[signal.SIGTERM], "__self__", None)
        if self.service.draining:  # the second one: no more waiting for load balancers
            self.service.closing = True
            if server is not None:
                server.should_exit = True
            return
        self._keep(self._drain(server))

    def _reload(self) -> None:
        self._keep(self._reload_quietly())

    def _keep(self, work: Any) -> None:
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _reload_quietly(self) -> None:
        await self.service.reload()

    async def _drain(self, server: Any) -> None:
        """Not ready at once, closed after a while, refusing what is not done in time.

        Uvicorn ends with status 0 if told to exit, and by the signal if it caught that itself.
        """
        service, settings = self.service, self.service.settings
        service.draining = True
        service.log.info("draining", accept_s=settings.drain_accept_s)
        await asyncio.sleep(settings.drain_accept_s)
        service.closing = True
        if server is not None:
            server.should_exit = True
        await asyncio.sleep(settings.drain_finish_s)
        service.refuse_all()
