"""The command that fills holes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

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
    levels_of,
    load_model,
    read_for,
    say,
)

if TYPE_CHECKING:
    from tsimpute.files import Recording
    from tsimpute.files.recording import Container


def impute(
    model: Model,
    data: Data,
    out: Annotated[str, typer.Option(help="file to write, by the ending; - for CSV")] = "-",
    quantiles: Annotated[
        str | None, typer.Option(help="levels, such as .05,.95: a column <feature>_q05 for each")
    ] = None,
    samples: Annotated[
        int | None, typer.Option(min=1, help="behind medians and quantiles [default: the model's]")
    ] = None,
    method: Annotated[str | None, typer.Option(help="samples, or head: one evaluation")] = None,
    sampler: Annotated[str | None, typer.Option(help="dpm-solver++2m-sde, ddpm, ddim, …")] = None,
    variance: Annotated[str | None, typer.Option(help="crps, npr, fixed, …")] = None,
    uncalibrated: Uncalibrated = False,
    time_column: TimeColumn = None,
    series_column: SeriesColumn = None,
    device: Device = "auto",
    seed: Seed = None,
    quiet: Quiet = False,
) -> None:
    """Fill the holes with medians (the quantile .5), and write other quantiles beside them.

    Observed values, and columns that the model does not know, are left as they are.
    """
    from tsimpute.files import check_target, write

    levels = levels_of(quantiles)
    check_target(out)
    imputer = load_model(model, device, quiet)
    recording = read_for(imputer, data, time_column, series_column)
    found = imputer.predict_quantiles(
        recording.data,
        sorted({0.5, *levels}),
        n_samples=samples,
        random_state=seed,
        method=method,
        sampler=sampler,
        variance=variance,
        calibrated=not uncalibrated,
    )
    content = recording.with_quantiles(found, levels, imputer.model_.feature_names)
    write(content, recording, out)
    n_missing, n_cells = _holes(recording.data, recording)
    n_open, _ = _holes(content, recording)
    left = f", {n_open} were refused and are left open" if n_open else ""
    say(f"{n_missing} of {n_cells} cells were missing{left}", quiet)


def _holes(content: Container, recording: Recording) -> tuple[int, int]:
    """Missing cells and all cells of the features."""
    columns = [content[name] for name in recording.features]
    return sum(int(column.isnull().sum()) for column in columns), sum(c.size for c in columns)
