"""How much of its data pre-training really hides, which may be less than was asked for."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

from tsimpute.errors import InputError
from tsimpute.training.batches import WindowSource
from tsimpute.training.cell_masks import Masking, hidden_cells
from tsimpute.training.pretraining import some_windows

UNITS = {"block": "row", "feature": "feature", "cell": "cell"}
TOO_MUCH_VISIBLE = 1.1  # times what was asked for: from here on it is warned of


def checked_hidden_share(sources: Mapping[str, WindowSource], masking: Masking, seed: int) -> float:
    """Mean share of the observed cells of all data sets that is hidden, before any is drawn.

    One row, feature or cell of each window always stays visible, so that the rate may be out of
    reach; then there is a warning.

    Parameters
    ----------
    sources : mapping of str to WindowSource
        The data sets by their names.
    masking : Masking
    seed : int
        Of the windows that are looked at where there are many.

    Raises
    ------
    InputError
        If nothing of a data set can be hidden; the message names it.
    """
    cells = {name: _cells(source, masking, seed) for name, source in sources.items()}
    shares = {name: hidden / observed for name, (hidden, observed) in cells.items()}
    unit, kind = UNITS[masking.kind], f"mask_kind={masking.kind!r}"
    for name, share in shares.items():
        if share == 0:
            raise InputError(
                f"{name}: {kind} can hide nothing, as no window has readings of more than one "
                f"{unit}, and one always stays visible; pass another mask_kind, or leave the data "
                f"set out"
            )
    _warn_of({name: share for name, share in shares.items() if _is_short(share, masking)}, masking)
    return sum(hidden for hidden, _ in cells.values()) / sum(total for _, total in cells.values())


def _cells(source: WindowSource, masking: Masking, seed: int) -> tuple[float, float]:
    """Cells of a data set that are hidden and that are observed, from some of its windows."""
    windows = some_windows(source, seed)
    scale = len(source.places(None)) / len(windows)
    observed_mask = windows.observed_mask
    return scale * hidden_cells(masking, observed_mask), scale * float(observed_mask.sum())


def _is_short(share: float, masking: Masking) -> bool:
    return 1 - share > TOO_MUCH_VISIBLE * (1 - masking.rate)


def _warn_of(short: Mapping[str, float], masking: Masking) -> None:
    if not short:
        return
    told = ", ".join(f"{share:.0%} in {name}" for name, share in [*short.items()][:5])
    warnings.warn(
        f"mask_rate={masking.rate:g} cannot be reached with mask_kind={masking.kind!r}: {told}"
        f"{', …' if len(short) > 5 else ''} is hidden, as one {UNITS[masking.kind]} of each window "
        f"always stays visible; pass a lower mask_rate or another mask_kind",
        stacklevel=5,
    )
