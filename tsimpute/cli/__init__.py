"""The command ``tsimpute`` (extra ``cli``): fit, impute, look, serve.

Results go to files or to standard output, everything else to standard error. The exit status is 0
if all went well, 1 if the data or the model cannot be used, 2 for a wrong command, and 130 after
Ctrl-C.
"""

from __future__ import annotations

import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

from tsimpute.errors import TsimputeError

NAME = "tsimpute"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: those of the process.
    """
    try:
        from tsimpute.cli.app import app
    except ImportError as error:
        if error.name != "typer":
            raise
        sys.exit(
            "error: the command line needs typer, which is not installed; "
            "run: pip install 'tsimpute[cli]'"
        )
    settings = {"debug": False}
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _say_warning
            app(arguments, prog_name=NAME, obj=settings)
    except Exception as error:
        if settings["debug"]:
            traceback.print_exc()
        print(f"error: {_sentence(error)}", file=sys.stderr)
        sys.exit(1)


def _sentence(error: Exception) -> str:
    """What went wrong, in one line."""
    text = " ".join(str(error).split())
    if isinstance(error, TsimputeError | OSError):
        return text
    name = type(error).__name__
    return f"{name}: {text}; run it again as `{NAME} --debug …` to see where"


def _say_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"warning: {' '.join(str(message).split())}", file=sys.stderr)
