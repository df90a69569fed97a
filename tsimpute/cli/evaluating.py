"""The command that compares a model with simple methods."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pandas as pd
import typer

from tsimpute.cli.options import (
    Data,
    Device,
    Model,
    Quiet,
    Seed,
    SeriesColumn,
    TimeColumn,
    Uncalibrated,
    load_model,
    read_for,
)

if TYPE_CHECKING:
    from tsimpute.assessment.selfcheck import SelfCheck


def evaluate(
    model: Model,
    data: Data,
    out: Annotated[Path | None, typer.Option(help="also write all scores: .csv")] = None,
    pattern: Annotated[
        str | None,
        typer.Option(
            help="what is hidden: like-data, point, block, mixed or last "
            "[default: like-data; last with mode forecast]"
        ),
    ] = None,
    uncalibrated: Uncalibrated = False,
    methods: Annotated[
        str | None, typer.Option(help="to compare with, separated by commas [default: all]")
    ] = None,
    period: Annotated[int | None, typer.Option(min=1, help="rows in a season")] = None,
    hidden_fraction: Annotated[float, typer.Option(help="share that is hidden")] = 0.1,
    max_windows: Annotated[int, typer.Option(min=1, help="windows that are sampled at most")] = 64,
    time_column: TimeColumn = None,
    series_column: SeriesColumn = None,
    device: Device = "auto",
    seed: Seed = None,
    quiet: Quiet = False,
) -> None:
    """Does the model beat simple methods? On cells that it hides; best of data unseen in training.

    The outcome in words, and a table, in standard deviations of each feature.
    """
    _check_place(out)
    imputer = load_model(model, device, quiet)
    recording = read_for(imputer, data, time_column, series_column)
    found = imputer.evaluate(
        recording.data,
        pattern,
        methods=None if methods is None else [name.strip() for name in methods.split(",")],
        period=period,
        hidden_fraction=hidden_fraction,
        max_windows=max_windows,
        random_state=seed,
        calibrated=not uncalibrated,
    )
    typer.echo(found.text)
    typer.echo("")
    typer.echo(found.overall.round(4).to_string())
    if out is not None:
        _write(found, out)


def _check_place(out: Path | None) -> None:
    from tsimpute.files import check_target

    if out is None:
        return
    if out.suffix.lower() != ".csv":
        message = f"got {out.name!r}, expected an ending of .csv"
        raise typer.BadParameter(message, param_hint="--out")
    check_target(str(out))


def _write(found: SelfCheck, out: Path) -> None:
    """One table: overall, by feature, and by the length of gaps."""
    from tsimpute.files.writing import replacing

    parts = {"all": found.overall, "feature": found.by_feature, "gap length": found.by_gap}
    tables = []
    for by, scores in parts.items():
        rows = scores.reset_index()
        group = rows.pop(rows.columns[0]) if by != "all" else "all"
        rows.insert(0, "group", group)
        rows.insert(0, "by", by)
        tables.append(rows)
    with replacing(out) as new:
        pd.concat(tables).to_csv(new, index=False)
