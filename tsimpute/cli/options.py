"""Arguments and options that several commands share."""

from __future__ import annotations

import ast
import difflib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tsimpute.errors import InputError

if TYPE_CHECKING:
    from tsimpute.files import Recording
    from tsimpute.imputer import EDDPMImputer

Data = Annotated[str, typer.Argument(help="CSV, Parquet, NetCDF or Zarr, by the ending; - for CSV")]
Model = Annotated[Path, typer.Argument(help="folder of a saved model")]
ModelOut = Annotated[Path, typer.Option(help="folder for the model; one there is replaced")]
TimeColumn = Annotated[
    str | None, typer.Option(help="column of the time [default: time, timestamp, date or datetime]")
]
SeriesColumn = Annotated[
    str | None, typer.Option(help="column that names the series [default: series]")
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:<n> or mps")]
Seed = Annotated[int | None, typer.Option(help="of the random numbers")]
Uncalibrated = Annotated[
    bool, typer.Option("--uncalibrated", help="quantiles as sampled, where there are others")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress")]


def say(message: str, quiet: bool = False) -> None:
    """Tell something on standard error."""
    if not quiet:
        print(message, file=sys.stderr)


def levels_of(text: str | None) -> list[float]:
    """Quantile levels, separated by commas."""
    from tsimpute.settings import checked_quantiles

    if text is None:
        return []
    try:
        return checked_quantiles([float(part) for part in text.split(",")])
    except ValueError as error:
        raise typer.BadParameter(
            f"got {text!r}, expected levels between 0 and 1, for example .05,.5,.95",
            param_hint="--quantiles",
        ) from error


def settings_of(pairs: Sequence[str]) -> dict[str, Any]:
    """Parameters from `name=value`, where a value is written as in Python or JSON."""
    for pair in pairs:
        if "=" not in pair:
            raise typer.BadParameter(f"got {pair!r}, expected name=value", param_hint="--set")
    return {name: _value(text) for name, text in (pair.split("=", 1) for pair in pairs)}


def _value(text: str) -> Any:
    for parse in (ast.literal_eval, json.loads):
        try:
            return parse(text)
        except (ValueError, SyntaxError):
            continue
    return text


def make_imputer(parameters: dict[str, Any]) -> EDDPMImputer:
    """An imputer whose parameters are known and in range; anything else is a wrong command."""
    from tsimpute.imputer import EDDPMImputer
    from tsimpute.model import resolve_device
    from tsimpute.sampling.choices import check_choices
    from tsimpute.settings import check_parameters

    known = EDDPMImputer().get_params()
    for name in parameters:
        if name not in known:
            close = difflib.get_close_matches(name, known, 3) or sorted(known)
            raise typer.BadParameter(
                f"{name!r} is no parameter; did you mean {' or '.join(close)}?", param_hint="--set"
            )
    imputer = EDDPMImputer(**parameters)
    try:
        check_parameters(imputer)
        check_choices(imputer)
        resolve_device(imputer.device)
    except InputError as error:
        raise typer.BadParameter(str(error)) from error
    return imputer


def load_model(path: Path, device: str, quiet: bool) -> EDDPMImputer:
    """A saved imputer, with its progress on standard error or none."""
    from tsimpute.persistence import load

    imputer = load(path, device)
    imputer.set_params(verbose=0 if quiet else 1)
    return imputer


def read_for(
    imputer: EDDPMImputer, data: str, time_column: str | None, series_column: str | None
) -> Recording:
    """What a model reads of a file: its own columns; others are left as they are."""
    from tsimpute.files import read

    names = imputer.model_.input_names
    features = None if names is None else [str(name) for name in names]
    return read(data, time_column=time_column, series_column=series_column, features=features)
