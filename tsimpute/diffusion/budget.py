"""How many steps may be kept while the mask is learned."""

from __future__ import annotations


def kept_steps_at(progress: float, n_steps: int, kept_steps: int, start: float = 0.0) -> float:
    """Expected number of kept steps at a moment of the search (EDDPM, Eq. 12).

    Parameters
    ----------
    progress : float
        Share of the search that is over, 0 to 1.
    n_steps : int
        T, the number of steps of the full chain: the budget until `start`.
    kept_steps : int
        K, the budget at progress 1.
    start : float
        Share of the search before pruning begins.

    Returns
    -------
    float
        Between `kept_steps` and `n_steps`, falling as a cubic.
    """
    if progress < start:
        return float(n_steps)
    remaining = 1 - min(1.0, (progress - start) / max(1e-12, 1 - start))
    return kept_steps + (n_steps - kept_steps) * remaining**3
