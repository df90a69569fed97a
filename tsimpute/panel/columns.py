"""Matching a panel's features with those of a model, and names that cannot serve."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tsimpute.errors import InputError

if TYPE_CHECKING:
    from tsimpute.panel.core import Panel

_MOST_NAMES_SHOWN = 5


def check_unique_names(names: Sequence[Hashable], name: str) -> None:
    """Raise InputError if a feature name occurs twice."""
    repeated = [label for label, count in Counter(names).items() if count > 1]
    if repeated:
        raise InputError(
            f"{name} has duplicate column names {repeated[:_MOST_NAMES_SHOWN]}, expected each "
            f"name once; rename or drop the repeated columns"
        )


def model_column_order(
    panel: Panel,
    feature_names: Sequence[Hashable] | None,
    n_features: int | None,
    estimator_name: str,
) -> NDArray[np.int64] | None:
    """Place of every model feature in the panel, or None where columns go by position."""
    if feature_names is None or panel.feature_names is None:
        expected = n_features if feature_names is None else len(feature_names)
        _check_count(panel, expected, estimator_name)
        return None
    wanted, given = list(feature_names), list(panel.feature_names)
    unseen = [label for label in given if label not in set(wanted)]
    absent = [label for label in wanted if label not in set(given)]
    if unseen or absent:
        raise InputError(_names_message(unseen, absent, panel.name))
    place = {label: i for i, label in enumerate(given)}
    return np.array([place[label] for label in wanted], dtype=np.int64)


def _check_count(panel: Panel, expected: int | None, estimator_name: str) -> None:
    if expected is not None and panel.n_features != expected:
        raise InputError(
            f"{panel.name} has {panel.n_features} features, but {estimator_name} is expecting "
            f"{expected} features as input"
        )


def _names_message(unseen: list[Hashable], absent: list[Hashable], name: str) -> str:
    # The first lines are scikit-learn's own wording, which its estimator checks look for.
    text = "The feature names should match those that were passed during fit.\n"
    if unseen:
        text += "Feature names unseen at fit time:\n" + _listed(unseen)
    if absent:
        text += "Feature names seen at fit time, yet now missing:\n" + _listed(absent)
    for label in unseen[:_MOST_NAMES_SHOWN]:
        close = get_close_matches(str(label), [str(other) for other in absent], n=1)
        if close:
            text += f"Column {label!r}: did you mean {close[0]!r}?\n"
    return text + f"Rename, add or drop columns of {name} so that both sets are the same."


def _listed(labels: list[Hashable]) -> str:
    texts = sorted(str(label) for label in labels)
    lines = [f"- {text}\n" for text in texts[:_MOST_NAMES_SHOWN]]
    if len(texts) > _MOST_NAMES_SHOWN:
        lines.append("- ...\n")
    return "".join(lines)


def place_of_column(
    column: Hashable, feature_names: Sequence[Hashable] | None, n_features: int, parameter: str
) -> int:
    """Place of a column that a parameter names, or numbers where columns have no names.

    Parameters
    ----------
    column : hashable
        A label; as text, too, where the labels are whole numbers, as JSON gives keys back.
    feature_names : sequence of hashable or None
        The model's features in its order; None for plain arrays, whose columns are 0, 1, ….
    n_features : int
        Number of columns.
    parameter : str
        What the error calls the parameter.

    Returns
    -------
    int
        From 0 to `n_features` - 1.

    Raises
    ------
    InputError
        If there is no such column.
    """
    labels: list[Hashable] = list(range(n_features) if feature_names is None else feature_names)
    if column not in labels and isinstance(column, str) and column.isdecimal():
        column = int(column)
    if column in labels and not isinstance(column, bool):
        return labels.index(column)
    close = get_close_matches(str(column), [str(label) for label in labels], n=1)
    advice = f"; did you mean {close[0]!r}?" if close else ""
    shown = ", ".join(repr(label) for label in labels[:_MOST_NAMES_SHOWN])
    more = ", …" if len(labels) > _MOST_NAMES_SHOWN else ""
    raise InputError(
        f"{parameter} names column {column!r}, which is none of those imputed; expected one of "
        f"{shown}{more}{advice}"
    )


def label_of_column(place: int, feature_names: Sequence[Hashable] | None) -> Hashable:
    """What a user calls the column at a place: its label, or its number."""
    return place if feature_names is None else feature_names[place]
