"""How a run is watched: a bar, a checkpoint after each epoch, Ctrl-C, random numbers of its own."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Protocol, TypeVar

import torch

from tsimpute.training.checkpoint import restore_checkpoint, save_checkpoint
from tsimpute.training.loop import Trainer
from tsimpute.training.pretraining import Pretrainer
from tsimpute.training.progress import TrainingBar

R = TypeVar("R", Trainer, Pretrainer)


class Talks(Protocol):
    """Whatever can be told to be silent."""

    verbose: int


def run_trainer(
    imputer: Talks, trainer: Trainer, label: str, checkpoint: str | Path | None
) -> None:
    """Run ordinary training to the end; see `run_to_end`."""
    run_to_end(imputer, trainer, label, checkpoint, (restore_checkpoint, save_checkpoint))


def run_to_end(
    imputer: Talks,
    run: R,
    label: str,
    checkpoint: str | Path | None,
    files: tuple[Callable[[R, str | Path], object], Callable[[R, str | Path], object]],
) -> None:
    """Run to the end or to Ctrl-C, with a bar and, if asked, a checkpoint after each epoch.

    `files` are functions that restore and save the run's state.
    """
    restore, save = files
    if checkpoint is not None:
        restore(run, checkpoint)
    with TrainingBar(label, silent=imputer.verbose == 0) as bar:

        def after_epoch(running: R) -> None:
            bar.on_epoch(running)
            if checkpoint is not None:
                save(running, checkpoint)

        try:
            run.fit(after_epoch, bar.on_step)
        except KeyboardInterrupt:
            say(imputer, "stopped by the user; the best model so far is kept")
            return
    if checkpoint is not None:
        Path(checkpoint).unlink(missing_ok=True)


@contextmanager
def ctrl_c_noted() -> Iterator[Callable[[], bool]]:
    """Within it Ctrl-C interrupts nothing; what is given says whether it was pressed.

    Only the main thread hears Ctrl-C; elsewhere nothing is changed.
    """
    pressed = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: FrameType | None) -> None:
        pressed.set()
        if callable(before):
            with suppress(KeyboardInterrupt):
                before(number, frame)  # whoever listens still hears of it

    if not callable(before) or threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return
    signal.signal(signal.SIGINT, note)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)


def say(imputer: Talks, message: str) -> None:
    """Print to stderr, unless the imputer is silent."""
    if imputer.verbose:
        print(message, file=sys.stderr)


@contextmanager
def own_random_numbers(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's global generator (dropout, initial weights) and give it back afterwards."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield
