"""How a quantile is called in the name of a column."""

from __future__ import annotations


def level_suffix(level: float) -> str:
    """Percent of a level as part of a column name.

    Parameters
    ----------
    level : float
        In (0, 1).

    Returns
    -------
    str

    Examples
    --------
    >>> [level_suffix(level) for level in (0.05, 0.5, 0.975)]
    ['05', '50', '97_5']
    """
    whole, _, part = f"{100 * level:.10g}".partition(".")
    return whole.zfill(2) + (f"_{part}" if part else "")
