"""Commands that train: fit and prune."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from tsimpute.cli.options import (
    Data,
    Device,
    Model,
    ModelOut,
    Quiet,
    Seed,
    SeriesColumn,
    TimeColumn,
    load_model,
    make_imputer,
    read_for,
    say,
    settings_of,
)

INTERRUPTED = 130  # 128 + SIGINT

Patterns = Annotated[
    str | None,
    typer.Option(help="data whose holes are learned to fill, for mix and historical [DATA itself]"),
]


def fit(
    data: Data,
    out: ModelOut,
    window_steps: Annotated[int | None, typer.Option(help="rows seen at once [36]")] = None,
    kept_steps: Annotated[int | None, typer.Option(help="denoising steps that remain [10]")] = None,
    n_samples: Annotated[int | None, typer.Option(help="behind medians and bands [50]")] = None,
    epochs: Annotated[int | None, typer.Option(help="passes over the data")] = None,
    time_budget_s: Annotated[float | None, typer.Option(help="seconds that it may take")] = None,
    target_strategy: Annotated[
        str | None, typer.Option(help="random, block, mix or historical [random]")
    ] = None,
    anchor: Annotated[str | None, typer.Option(help="linear, local or none [linear]")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="of any parameter; may be repeated"),
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="features, separated by commas [default: all others]")
    ] = None,
    time_column: TimeColumn = None,
    series_column: SeriesColumn = None,
    patterns: Patterns = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="file to go on from after an interruption")
    ] = None,
    device: Device = "auto",
    seed: Seed = None,
    quiet: Quiet = False,
) -> None:
    """Train a model on series with holes and save it.

    Ctrl-C ends training early: the best model so far is saved, and the exit status is 130.
    """
    from tsimpute.files import read
    from tsimpute.persistence import check_place

    named = {
        "window_steps": window_steps,
        "kept_steps": kept_steps,
        "n_samples": n_samples,
        "epochs": epochs,
        "time_budget_s": time_budget_s,
        "target_strategy": target_strategy,
        "anchor": anchor,
        "random_state": seed,
    }
    given = {name: value for name, value in named.items() if value is not None}
    fixed: dict[str, Any] = {"device": device, "verbose": 0 if quiet else 1}
    imputer = make_imputer(fixed | given | settings_of(settings or []))
    check_place(out)
    features = None if columns is None else columns.split(",")
    columns_are = {"time_column": time_column, "series_column": series_column}
    recording = read(data, **columns_are, features=features)
    holes = None if patterns is None else read(patterns, **columns_are, features=features).data
    with _interrupts() as interrupted:
        imputer.fit(recording.data, patterns=holes, checkpoint=checkpoint)
    _saved(imputer.save(out), quiet, interrupted)


def prune(
    model: Model,
    data: Data,
    out: ModelOut,
    kept_steps: Annotated[int, typer.Option(min=1, help="denoising steps that remain")] = 5,
    epochs: Annotated[int, typer.Option(min=1, help="passes over the data")] = 1,
    patterns: Patterns = None,
    time_column: TimeColumn = None,
    series_column: SeriesColumn = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Bring a saved model to fewer steps by a short fine-tuning."""
    from tsimpute.persistence import check_place

    check_place(out)
    imputer = load_model(model, device, quiet)
    recording = read_for(imputer, data, time_column, series_column)
    own = (time_column, series_column)
    holes = None if patterns is None else read_for(imputer, patterns, *own).data
    with _interrupts() as interrupted:
        imputer.prune(recording.data, kept_steps, epochs=epochs, patterns=holes)
    _saved(imputer.save(out), quiet, interrupted)


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """Note whether Ctrl-C was pressed, which training itself takes as a wish to end."""
    seen = threading.Event()

    def note(*_: Any) -> None:
        seen.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, before)


def _saved(path: Path, quiet: bool, interrupted: threading.Event) -> None:
    say(f"saved {path}", quiet)
    if interrupted.is_set():
        raise typer.Exit(INTERRUPTED)
