"""Speed of training and imputing against PyPOTS' CSDI, the two sides taking turns.

    python benchmarks/speed/run.py                              # as `make bench`
    python benchmarks/speed/run.py --rounds 9 --samples 3       # steadier, longer

Equal width, batch, windows, samples and torch threads; each side lives in a process of its own.
A round asks every task of both sides once, and the order turns from round to round, so that a
machine that is busy now and idle then is busy for both. Times are medians over the rounds; a ratio
is their median over ours, its range that of the ratios of single rounds. More than 1: we are
faster. The same ratio of CPU seconds (of all threads, their waiting for each other included) stands
beside it: other programs on the machine disturb it less.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from peer import environment, peer_variables
from provenance import CACHE, HERE, RESULTS, add_row, provenance
from rounds import ANSWER, BATCH_SIZE, N_FEATURES, WINDOW_STEPS, Size

KEY = ["what", "windows", "samples", "updates", "threads"]


@dataclass(frozen=True)
class Comparison:
    """One row: a task of ours, the task of theirs that does the same, and the ratio hoped for."""

    what: str
    ours: str
    theirs: str
    target: float


COMPARISONS = (
    Comparison("training step, our default (attention dropout 0)", "train", "train", 2.0),
    Comparison(
        "training step, attention dropout 0.1 on both", "train with attention dropout", "train", 2.0
    ),
    Comparison("imputing, 50 steps on both", "impute 50 steps", "impute 50 steps", 1.3),
    Comparison("imputing, our 10 steps, their 50", "impute 10 steps", "impute 50 steps", 6.0),
)


class Time(NamedTuple):
    """Seconds on the wall, and of all cores together."""

    wall: float
    cpu: float


Turn = tuple[str, str]  # side, task


class Worker:
    """A side that waits in its own process to be told what to do."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.versions: dict[str, str] = self._answer()

    def time(self, task: str) -> Time:
        """Do one round of a task."""
        assert self.process.stdin is not None
        print(task, file=self.process.stdin, flush=True)
        return Time(*self._answer())

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(ANSWER):
                return json.loads(line.removeprefix(ANSWER))
        raise SystemExit(f"{self.process.args!r} ended with code {self.process.wait()}")


@contextmanager
def started(
    python: Path, script: str, size: Size, variables: Mapping[str, str]
) -> Iterator[Worker]:
    """Worker in a process that ends with the block."""
    threads = {"OMP_NUM_THREADS": str(size.threads), "MKL_NUM_THREADS": str(size.threads)}
    command = [str(python), "-W", "ignore", str(HERE / script), *size.arguments()]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=dict(variables) | threads,
    )
    try:
        yield Worker(process)
    finally:
        process.terminate()
        process.wait()


def turns(round_number: int) -> list[Turn]:
    """Order of one round; training stands next to training, imputing next to imputing."""
    order = [("ours", "train"), ("theirs", "train"), ("ours", "train with attention dropout")]
    order += [("ours", "impute 50 steps"), ("theirs", "impute 50 steps")]
    order += [("ours", "impute 10 steps")]
    return order if round_number % 2 == 0 else order[::-1]


def measure(sides: dict[str, Worker], rounds: int) -> dict[Turn, list[Time]]:
    """Time of every round of every task, after some training that only warms up."""
    times: dict[Turn, list[Time]] = {turn: [] for turn in turns(0)}
    for side in sides.values():
        side.time("train")
    for number in range(rounds):
        for side_name, task in turns(number):
            times[side_name, task].append(sides[side_name].time(task))
        load = f"load {os.getloadavg()[0]:.1f}"
        print(f"round {number + 1} of {rounds} done, {load}", file=sys.stderr, flush=True)
    return times


def compared(comparison: Comparison, times: dict[Turn, list[Time]], size: Size) -> dict[str, Any]:
    """Row of one comparison; a training time is that of one update."""
    ours, theirs = times["ours", comparison.ours], times["theirs", comparison.theirs]
    training = comparison.ours.startswith("train")
    parts = size.updates if training else 1
    ratios = [t.wall / o.wall for o, t in zip(ours, theirs, strict=True)]
    ours_s, theirs_s = (median(t.wall for t in side) for side in (ours, theirs))
    ours_cpu_s, theirs_cpu_s = (median(t.cpu for t in side) for side in (ours, theirs))
    return {
        "what": comparison.what,
        "ours_s": ours_s / parts,
        "theirs_s": theirs_s / parts,
        "ratio": theirs_s / ours_s,
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "cpu_ratio": theirs_cpu_s / ours_cpu_s,
        "target": comparison.target,
        "rounds": len(ours),
        "windows": BATCH_SIZE if training else size.windows,
        "samples": 0 if training else size.samples,
        "updates": size.updates if training else 0,
        "window_shape": f"{WINDOW_STEPS} x {N_FEATURES}",
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as text."""
    head = f"{'':50s} {'ours s':>8s} {'theirs s':>8s} {'ratio':>6s}  {'range':13s} {'cpu':>5s}"
    lines = [f"{head}  target"]
    for row in rows:
        span = f"{row['ratio_min']:.2f} to {row['ratio_max']:.2f}"
        reached = "reached" if row["ratio"] >= row["target"] else "NOT reached"
        lines.append(
            f"{row['what']:50s} {row['ours_s']:8.3f} {row['theirs_s']:8.3f} {row['ratio']:6.2f}  "
            f"{span:13s} {row['cpu_ratio']:5.2f}  {row['target']:g} {reached}"
        )
    return "\n".join(lines)


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_options() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--windows", type=int, default=BATCH_SIZE, help="windows to impute")
    parser.add_argument("--samples", type=int, default=1, help="samples of each window")
    parser.add_argument("--updates", type=int, default=2, help="training steps of a round")
    parser.add_argument("--threads", type=int, default=available_cores())
    parser.add_argument("--note", default="", help="what else ran on the machine")
    return parser.parse_args()


def main() -> None:
    """Measure, print and write `benchmarks/results/speed.csv`."""
    options = read_options()
    size = Size(options.windows, options.samples, options.updates, options.threads)
    told = provenance() | {"threads": size.threads, "note": options.note}
    told["load_before"] = round(os.getloadavg()[0], 1)
    peer_python = environment(CACHE)
    with ExitStack() as stack:
        ours = started(Path(sys.executable), "worker_tsimpute.py", size, os.environ)
        theirs = started(peer_python, "worker_pypots.py", size, peer_variables(CACHE))
        sides = {"ours": stack.enter_context(ours), "theirs": stack.enter_context(theirs)}
        versions = {"python": platform.python_version()}
        for worker in sides.values():
            versions |= worker.versions
        times = measure(sides, options.rounds)
    rows = [compared(comparison, times, size) for comparison in COMPARISONS]
    told["versions"] = " ".join(f"{name}={v}" for name, v in versions.items())
    for row in rows:
        add_row(RESULTS / "speed.csv", row | told, KEY)
    print(table(rows))


if __name__ == "__main__":
    main()
