"""Commands that draw."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    say,
)
from tsimpute.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tsimpute.files import Recording

FORMATS = (".png", ".svg", ".pdf")
BANDS = (0.05, 0.25, 0.5, 0.75, 0.95)

plots = typer.Typer(
    help="Draw data, imputations or what was learned.", no_args_is_help=True, rich_markup_mode=None
)

Picture = Annotated[Path, typer.Option("--out", help="picture to write: .png, .svg or .pdf")]
Feature = Annotated[str | None, typer.Option(help="column to draw, if there are several")]
Series = Annotated[str | None, typer.Option(help="series to draw, if there are several")]
Rows = Annotated[str | None, typer.Option(help="rows to draw, such as 1000:1200")]


@plots.command("data")
def draw_data(
    data: Data,
    out: Picture,
    feature: Feature = None,
    series: Series = None,
    rows: Rows = None,
    time_column: TimeColumn = None,
    series_column: SeriesColumn = None,
) -> None:
    """Readings of one feature of one series, with the gaps marked."""
    from tsimpute.files import read
    from tsimpute.plotting import plot_series

    _check_picture(out)
    recording = read(data, time_column=time_column, series_column=series_column)
    _save(plot_series(_some_rows(_one_series(recording, series), rows), feature), out)


@plots.command("missingness")
def draw_missingness(
    data: Data,
    out: Picture,
    by: Annotated[str, typer.Option(help="what a row is: feature or series")] = "feature",
    time_column: TimeColumn = None,
    series_column: SeriesColumn = None,
) -> None:
    """Which cells are missing, when."""
    from tsimpute.files import read
    from tsimpute.plotting import plot_missingness

    _check_picture(out)
    recording = read(data, time_column=time_column, series_column=series_column)
    _save(plot_missingness(recording.data, by), out)


@plots.command("imputation")
def draw_imputation(
    model: Model,
    data: Data,
    out: Picture,
    feature: Feature = None,
    series: Series = None,
    rows: Rows = None,
    samples: Annotated[int | None, typer.Option(min=1, help="behind the bands")] = None,
    time_column: TimeColumn = None,
    series_column: SeriesColumn = None,
    device: Device = "auto",
    seed: Seed = None,
    quiet: Quiet = False,
) -> None:
    """Readings, and median and bands in the gaps, of one feature of one series."""
    from tsimpute.plotting import plot_imputation
    from tsimpute.plotting.series import one_column

    _check_picture(out)
    imputer = load_model(model, device, quiet)
    table = _one_series(read_for(imputer, data, time_column, series_column), series)
    drawn = _some_rows(table, rows)
    one_column(drawn, feature, str(data))  # before anything is sampled
    around = table.iloc[_widened(_rows(rows), len(table), imputer.window_steps)]
    quantiles = imputer.predict_quantiles(around, BANDS, n_samples=samples, random_state=seed)
    _save(plot_imputation(drawn, quantiles, feature), out)


@plots.command("reliability")
def draw_reliability(
    model: Model,
    data: Data,
    out: Picture,
    pattern: Annotated[
        str | None,
        typer.Option(
            help="what is hidden: mixed, point, block, like-data or last "
            "[default: mixed; last with mode forecast]"
        ),
    ] = None,
    uncalibrated: Uncalibrated = False,
    max_windows: Annotated[int, typer.Option(min=1, help="windows that are sampled at most")] = 256,
    time_column: TimeColumn = None,
    series_column: SeriesColumn = None,
    device: Device = "auto",
    seed: Seed = None,
    quiet: Quiet = False,
) -> None:
    """How often intervals hold cells that are hidden for it, against how often they should."""
    from tsimpute.plotting import plot_reliability

    _check_picture(out)
    imputer = load_model(model, device, quiet)
    recording = read_for(imputer, data, time_column, series_column)
    report = imputer.calibration_report(
        recording.data,
        pattern=pattern,
        max_windows=max_windows,
        random_state=seed,
        calibrated=not uncalibrated,
    )
    _save(plot_reliability(report), out)


@plots.command("steps")
def draw_steps(model: Model, out: Picture) -> None:
    """Which diffusion steps were kept, and what was learned about each."""
    from tsimpute.plotting import plot_step_schedule

    _check_picture(out)
    _save(plot_step_schedule(load_model(model, "cpu", quiet=True).step_schedule_), out)


@plots.command("widths")
def draw_widths(model: Model, out: Picture) -> None:
    """How wide the network is at each kept step."""
    from tsimpute.plotting import plot_step_widths

    _check_picture(out)
    _save(plot_step_widths(load_model(model, "cpu", quiet=True).step_schedule_), out)


@plots.command("loss")
def draw_loss(model: Model, out: Picture) -> None:
    """Training and validation loss by epoch."""
    from tsimpute.plotting import plot_loss_curves

    _check_picture(out)
    _save(plot_loss_curves(load_model(model, "cpu", quiet=True).history_), out)


@plots.command("keep-prob")
def draw_keep_prob(model: Model, out: Picture) -> None:
    """How the probability of keeping each diffusion step changed over training."""
    from tsimpute.plotting import plot_keep_prob_history

    _check_picture(out)
    history = load_model(model, "cpu", quiet=True).keep_prob_history_
    _save(plot_keep_prob_history(history, range(len(history))), out)


def _check_picture(out: Path) -> None:
    if out.suffix.lower() not in FORMATS:
        raise typer.BadParameter(
            f"got {out.name!r}, expected an ending of {', '.join(FORMATS)}", param_hint="--out"
        )
    if not out.absolute().parent.is_dir():
        raise InputError(f"{out}: the folder {out.parent} does not exist; make it first")


def _save(ax: Axes, out: Path) -> None:
    from tsimpute.files.writing import replacing

    figure: Any = ax.get_figure(root=True)
    with replacing(out) as new:
        figure.savefig(new, dpi=150, format=out.suffix[1:].lower())
    say(f"saved {out}")


def _one_series(recording: Recording, series: str | None) -> pd.DataFrame:
    """One series as a table by time."""
    from tsimpute.files.writing import indexed

    table = indexed(recording.data)
    if not isinstance(table.index, pd.MultiIndex):
        return table
    ids = table.index.get_level_values(0)
    places = {str(label): label for label in ids.unique()}
    if series is None or series not in places:
        some = ", ".join(list(places)[:8])
        raise InputError(f"series={series!r}: expected one of {len(places)} series: {some}, …")
    own: pd.DataFrame = table.loc[ids == places[series]]
    return own.set_index(own.index.get_level_values(1))


def _some_rows(table: pd.DataFrame, text: str | None) -> pd.DataFrame:
    chosen = table.iloc[_rows(text)]
    if chosen.empty:
        raise typer.BadParameter(
            f"got {text!r}, but there are {len(table)} rows, numbered from 0", param_hint="--rows"
        )
    return chosen


def _rows(text: str | None) -> slice:
    try:
        first, last = (int(part) if part else None for part in (text or ":").split(":"))
    except ValueError as error:
        raise typer.BadParameter(
            f"got {text!r}, expected first:last, such as 1000:1200", param_hint="--rows"
        ) from error
    return slice(first, last)


def _widened(rows: slice, n_rows: int, window_steps: int) -> slice:
    """The rows, and a window on either side for the network to look at."""
    first, last, _ = rows.indices(n_rows)
    return slice(max(0, first - window_steps), last + window_steps)
