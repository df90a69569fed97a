"""Soak: many small requests, one client in ten killed midway; memory, tasks and answers after it.

python benchmarks/service/soak.py --requests 10000
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from running import RESULTS, Running, add_row, circumstances, request, save_model, serve

FEATURES, STEPS = 3, 12
CLIENTS = 8
KILLED = 10  # one in so many
WARM = 500
KEY = ["commit", "requests"]


async def soak(running: Running, n: int, first: int) -> Counter[str]:
    """Send requests of which each is its own, and compare each answer with its request."""
    outcome: Counter[str] = Counter()
    numbers = iter(range(first, first + n))
    rng = np.random.default_rng(first)
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=running.url, timeout=60, limits=limits, trust_env=False
    ) as client:

        async def one() -> None:
            for i in numbers:
                sent = request(i, 2, STEPS, FEATURES)
                if i % KILLED == 0:
                    outcome[await kill(running.port, sent, float(rng.uniform(0, 0.1)))] += 1
                else:
                    outcome[await ask(client, sent)] += 1

        await asyncio.gather(*(one() for _ in range(CLIENTS)))
    return outcome


async def ask(client: httpx.AsyncClient, sent: Any) -> str:
    while True:
        answer = await client.post("/impute", json=sent)
        if answer.status_code != 429:
            break
        await asyncio.sleep(0.2)
    if answer.status_code != 200:
        return f"status {answer.status_code}"
    told = answer.json()
    rows, median = np.array(sent["rows"], dtype=np.float64), np.array(told["median"])
    seen = ~np.isnan(rows)
    own = told["seed"] == sent["seed"] and (median[seen] == rows[seen]).all()
    return "right" if own and np.isfinite(median).all() else "mixed up"


async def kill(port: int, sent: Any, after_s: float) -> str:
    """Hang up at any moment: while sending, waiting or reading."""
    content = json.dumps(sent).encode()
    head = f"POST /impute HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n"
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    whole = head.encode() + b"Content-Type: application/json\r\n\r\n" + content
    writer.write(whole[: int(len(whole) * min(1.0, after_s * 20))])
    await asyncio.sleep(after_s)
    writer.transport.abort()
    return "killed"


def gauges(running: Running) -> dict[str, float]:
    """What the service holds: requests that wait or are open, and tasks."""
    text = httpx.get(running.url + "/metrics", trust_env=False).text
    lines = dict(line.split() for line in text.splitlines() if not line.startswith("#"))
    names = ("queue_requests", "open_requests", "tasks")
    return {name: float(lines[f"tsimpute_{name}"]) for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--note", default="", help="what else the machine did")
    options = parser.parse_args()
    about = circumstances()
    with tempfile.TemporaryDirectory() as name:
        size = {"channels": 8, "layers": 1, "heads": 2, "window_steps": STEPS, "kept_steps": 3}
        save_model(Path(name), FEATURES, diffusion_steps=10, **size)
        with serve(Path(name)) as running:
            asyncio.run(soak(running, WARM, 10**6))
            time.sleep(2)
            before, held = running.memory_mb(), gauges(running)
            begun = time.perf_counter()
            outcome = asyncio.run(soak(running, options.requests, 0))
            seconds = time.perf_counter() - begun
            time.sleep(2)
            after, left = running.memory_mb(), gauges(running)
    found = {
        "requests": options.requests,
        "seconds": round(seconds, 1),
        "right": outcome["right"],
        "mixed_up": outcome["mixed up"],
        "killed": outcome["killed"],
        "other": sum(n for k, n in outcome.items() if k not in ("right", "mixed up", "killed")),
        "memory_before_mb": round(before, 1),
        "memory_after_mb": round(after, 1),
        "tasks_before": held["tasks"],
        "tasks_after": left["tasks"],
        "still_open": left["queue_requests"] + left["open_requests"],
        "note": options.note,
    }
    add_row(RESULTS / "service_soak.csv", about | found, KEY)
    print(found)
    small = after - before < min(0.05 * before, 50)
    clean = left["tasks"] <= held["tasks"] and not found["still_open"]
    right = not (found["mixed_up"] or found["other"])
    sys.exit(0 if small and clean and right else "the soak found something wrong")


if __name__ == "__main__":
    main()
