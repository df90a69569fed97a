"""Load: what the service does at half, once and twice its capacity, and what batching brings.

    python benchmarks/service/load.py --seconds 60

Capacity is measured first, by clients that each wait for their answer: in turns, of a service that
takes one request at a time and of one that makes batches. Then requests arrive at fixed times,
whatever happens to earlier ones, and every answer is checked against its request.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from running import RESULTS, Running, add_row, circumstances, request, save_model, serve

CLIENTS = 16
KINDS = 32  # different requests
ROUNDS = 3  # of one at a time and batches in turns
KEY = ["commit", "run", "shape", "method", "n_samples", "channels"]


@dataclass
class Outcome:
    """What happened to the requests of one run."""

    seconds: float = 0.0
    in_time: int = 0  # answers within these seconds
    statuses: Counter[int] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    refusals: list[float] = field(default_factory=list)
    live: list[float] = field(default_factory=list)
    mixed_up: int = 0

    @property
    def goodput(self) -> float:
        """Answers a second."""
        return self.in_time / self.seconds


@dataclass
class Load:
    """Requests, and what the service must answer to them."""

    bodies: list[bytes]
    given: list[Any]
    expected: dict[int, Any] = field(default_factory=dict)

    def check(self, kind: int, told: Any) -> bool:
        """Whether an answer belongs to its request: observed cells, seed, and numbers."""
        median = np.array(told["median"])
        rows = np.array(self.given[kind]["rows"], dtype=np.float64)
        seen = ~np.isnan(rows)
        if told["seed"] != self.given[kind]["seed"] or not (median[seen] == rows[seen]).all():
            return False
        first = self.expected.setdefault(kind, median)
        return bool(np.allclose(first, median, rtol=1e-4, atol=1e-4))


async def ask(client: httpx.AsyncClient, load: Load, kind: int, outcome: Outcome) -> None:
    begun = time.perf_counter()
    try:
        answer = await client.post(
            "/impute", content=load.bodies[kind], headers={"Content-Type": "application/json"}
        )
    except httpx.TransportError:
        outcome.statuses[0] += 1
        return
    taken = time.perf_counter() - begun
    outcome.statuses[answer.status_code] += 1
    if answer.status_code == 200:
        outcome.latencies.append(taken)
        outcome.mixed_up += not load.check(kind, answer.json())
    else:
        outcome.refusals.append(taken)


async def closed(url: str, load: Load, seconds: float, clients: int) -> Outcome:
    """Clients that wait for each answer."""
    outcome = Outcome()
    begun = time.perf_counter()
    async with connection(url) as client:

        async def one(number: int) -> None:
            kind = number
            while time.perf_counter() - begun < seconds:
                await ask(client, load, kind % KINDS, outcome)
                kind += clients

        await asyncio.gather(*(one(number) for number in range(clients)))
    outcome.seconds = time.perf_counter() - begun
    outcome.in_time = outcome.statuses[200]
    return outcome


async def open_loop(url: str, load: Load, rate: float, seconds: float) -> Outcome:
    """Requests at fixed times, and the time that /health/live takes meanwhile."""
    outcome, tasks = Outcome(), []
    begun = time.perf_counter()
    async with connection(url) as client, connection(url) as other:
        probe = asyncio.create_task(watch(other, outcome))
        for i in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, begun + i / rate - time.perf_counter()))
            tasks.append(asyncio.create_task(ask(client, load, i % KINDS, outcome)))
        outcome.seconds = time.perf_counter() - begun
        outcome.in_time = outcome.statuses[200]  # the queue's rest does not count
        await asyncio.gather(*tasks)
        probe.cancel()
    return outcome


async def watch(client: httpx.AsyncClient, outcome: Outcome) -> None:
    while True:
        begun = time.perf_counter()
        assert (await client.get("/health/live")).status_code == 200
        outcome.live.append(time.perf_counter() - begun)
        await asyncio.sleep(0.05)


def connection(url: str) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    return httpx.AsyncClient(base_url=url, timeout=180, limits=limits, trust_env=False)


def row(name: str, outcome: Outcome, cells: int, **more: Any) -> dict[str, Any]:
    found = {
        "run": name,
        "seconds": round(outcome.seconds, 1),
        "answers_per_s": round(outcome.goodput, 2),
        "cells_per_s": round(outcome.goodput * cells),
        **{f"status_{s}": outcome.statuses[s] for s in (200, 429)},
        "other": sum(n for s, n in outcome.statuses.items() if s not in (200, 429)),
        "mixed_up": outcome.mixed_up,
    }
    groups = {"latency": outcome.latencies, "refusal": outcome.refusals, "live": outcome.live}
    for label, times in groups.items():
        for q in (50, 95, 99):
            milliseconds = 1000 * float(np.percentile(times, q)) if times else float("nan")
            found[f"{label}_p{q}_ms"] = round(milliseconds, 1)
    return found | more


def joined(outcomes: list[Outcome]) -> Outcome:
    """Several runs as one."""
    whole = Outcome()
    for part in outcomes:
        whole.seconds += part.seconds
        whole.in_time += part.in_time
        whole.statuses += part.statuses
        whole.latencies += part.latencies
        whole.mixed_up += part.mixed_up
    return whole


def capacities(services: list[Running], load: Load, seconds: float) -> list[Outcome]:
    """Of each service, in turns; the first round only warms them up."""
    rounds = [
        [asyncio.run(closed(running.url, load, seconds / ROUNDS, CLIENTS)) for running in services]
        for _ in range(ROUNDS + 1)
    ]
    return [joined(list(outcomes)) for outcomes in zip(*rounds[1:], strict=True)]


def at_rates(
    running: Running, load: Load, capacity: float, seconds: float, cells: int
) -> list[dict[str, Any]]:
    """Half, once and twice the capacity."""
    rows = []
    for share in (0.5, 1.0, 2.0):
        lasting = seconds if share == 2.0 else seconds / 2
        outcome = asyncio.run(open_loop(running.url, load, share * capacity, lasting))
        part = round(outcome.goodput / capacity, 3)
        rows.append(row(f"{share:g} x capacity", outcome, cells, share_of_capacity=part))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of the run at twice capacity")
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument("--method", choices=("samples", "head"), default="samples")
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--times", type=int, default=36)
    parser.add_argument("--features", type=int, default=36)
    parser.add_argument("--note", default="", help="what else the machine did")
    options = parser.parse_args()
    n, k = options.times, options.features
    given = [request(seed, options.samples, n, k) for seed in range(KINDS)]
    for body in given:
        body["method"] = options.method
    load = Load([json.dumps(body).encode() for body in given], given)
    about = circumstances() | {
        "shape": f"{n}x{k}",
        "method": options.method,
        "n_samples": options.samples if options.method == "samples" else 0,
        "channels": options.channels,
        "note": options.note,
    }
    with tempfile.TemporaryDirectory() as name:
        save_model(Path(name), k, channels=options.channels, layers=2, heads=2)
        with (
            serve(Path(name), batch_seconds=1e-9, batch_wait_cpu_s=0) as single,
            serve(Path(name)) as batching,
        ):
            alone, together = capacities([single, batching], load, options.seconds / 2)
            rows = [row("one at a time", alone, n * k), row("capacity", together, n * k)]
            rows += at_rates(batching, load, together.goodput, options.seconds, n * k)
    gain = round(together.goodput / alone.goodput, 2)
    for found in rows:
        add_row(RESULTS / "service_load.csv", about | found | {"batching_gain": gain}, KEY)
        print(found)
    print(f"batching: {gain} times the throughput of one at a time")


if __name__ == "__main__":
    main()
