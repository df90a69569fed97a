"""All commands together."""

from __future__ import annotations

from typing import Annotated

import typer

from tsimpute.cli.drawing import plots
from tsimpute.cli.evaluating import evaluate
from tsimpute.cli.imputing import impute
from tsimpute.cli.inspecting import inspect
from tsimpute.cli.serving import serve
from tsimpute.cli.training import fit, prune

app = typer.Typer(
    help="Fill the holes of multivariate time series by diffusion in a few denoising steps.",
    epilog="Exit status: 0 good, 1 data or model cannot be used, 2 wrong command, 130 Ctrl-C.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _say_version(wanted: bool) -> None:
    if wanted:
        from tsimpute import __version__

        typer.echo(f"tsimpute {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    debug: Annotated[bool, typer.Option("--debug", help="show where an error is from")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="and exit")
    ] = False,
) -> None:
    context.obj["debug"] = debug


for command in (fit, impute, evaluate, prune, inspect, serve):
    app.command()(command)
app.add_typer(plots, name="plot")
