"""A run whose loss is finite no more is ended, and says so."""

from __future__ import annotations

import math

from tsimpute.errors import DivergenceError

KNOWS_NOTHING = 1.0  # loss of a network that predicts no noise at all
WORSE_THAN_NOTHING = 2.0  # a loss so far above that is no chance of few windows
ON_A_FIXED_RATE = (
    "fit the network again with a lower learning_rate, or look for impossible values in the data"
)


def lower(learning_rate: float) -> str:
    """What to do where the user chose the learning rate."""
    return f"lower learning_rate (now {learning_rate:g})"


def check_loss(loss: float, when: str, advice: str) -> None:
    """Raise DivergenceError unless a loss is finite.

    Parameters
    ----------
    loss : float
        Of a batch, an epoch or a validation.
    when : str
        In which part of the run, for example "epoch 3".
    advice : str
        What to do about it.
    """
    if not math.isfinite(loss):
        raise DivergenceError(f"training diverged in {when}: the loss is {loss}; {advice}")
