"""Errors and warnings of tsimpute's border: what was got, what was expected, what to do."""

from __future__ import annotations


class TsimputeError(Exception):
    """Base of every error that tsimpute raises on purpose."""


class InputError(TsimputeError, ValueError):
    """Data or a parameter cannot be used; the message names the column, row or parameter."""


class TimeIndexError(InputError):
    """Times that cannot be used; the message names the row.

    Attributes
    ----------
    kind : {"missing", "duplicate", "order", "step"}
        What is wrong with it.
    row, series : int
        Row of its series, and place of that series in the data, counted from 0.
    """

    def __init__(self, message: str, kind: str, row: int, series: int = 0) -> None:
        super().__init__(message)
        self.kind, self.row, self.series = kind, row, series


class InputTypeError(TsimputeError, TypeError):
    """Data of a kind that no imputation can be made from, for example text columns."""


class DivergenceError(TsimputeError, ArithmeticError):
    """Training left the finite numbers; the message says when, and which parameter to lower."""


class ModelFileError(TsimputeError, ValueError):
    """A saved model is truncated, altered, of a newer format or otherwise not to be trusted."""


class DatasetError(TsimputeError, FileNotFoundError):
    """A data set is absent or altered; the message says where to get it."""


class MissingExtraError(TsimputeError, ImportError):
    """An optional dependency is needed; the message names the extra that installs it."""


class DataWarning(UserWarning):
    """Data that can be used but hardly mean what they say; the message names the column."""
