"""What one evaluation of the network costs."""

from __future__ import annotations

from collections.abc import Sequence

from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.visible import VisibleCells


def evaluation_flops(config: DenoiserConfig, length: int) -> int:
    """Floating-point operations of one evaluation of one window.

    Counted are products of matrices, a multiplication and an addition as two; that is what
    `torch.utils.flop_counter` counts. The side information is projected once for all steps and
    samples of a window and is not part of it; nor are heads, a hundredth of the network.

    Parameters
    ----------
    config : DenoiserConfig
        Shape of the network; of a narrow one from
        :func:`tsimpute.denoiser.slimmable.narrow_config`.
    length : int
        L, rows of the window.

    Returns
    -------
    int
    """
    k = config.n_features
    over_time = [k * length**2] if length > 1 else []
    over_features = [length * k**2] if k > 1 else []
    return _flops(config, 1, k * length, over_time + over_features)


def visible_flops(config: DenoiserConfig, cells: VisibleCells) -> int:
    """Floating-point operations of one evaluation of a batch on its visible cells only.

    Counted as in `evaluation_flops`. Rows with fewer visible cells than the fullest one are
    filled up for attention, and that is counted too.

    Parameters
    ----------
    config : DenoiserConfig
        Shape of the network.
    cells : VisibleCells

    Returns
    -------
    int
        Of all windows together.
    """
    n_windows, length, k = cells.shape
    axes = ((cells.in_feature, length), (cells.in_row, k))
    pairs = [layout.n_rows * layout.width**2 for layout, size in axes if size > 1]
    return _flops(config, n_windows, len(cells), pairs)


def _flops(config: DenoiserConfig, n_windows: int, n_cells: int, pairs: Sequence[int]) -> int:
    """Operations of windows, given for each axis how many pairs of cells attend to each other."""
    c = config.channels
    rows = 4 * c * c + 2 * c * config.feed_width  # of one cell in one transformer: qkv, out, feed
    attention = sum(n_cells * rows + 2 * n_pairs * c for n_pairs in pairs)
    gates = n_cells * (2 * c * c + 2 * c * c)  # mid and output projections
    block = attention + gates + n_windows * config.step_width * c
    ends = n_cells * (2 * c + c * c + c)
    unread = n_cells * c * c  # of the last block's output projection
    codes = n_windows * 2 * config.step_width**2
    return 2 * (config.layers * block - unread + ends + codes)
