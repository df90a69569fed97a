"""What one evaluation of the network costs."""

from __future__ import annotations

from tsimpute.denoiser.config import DenoiserConfig


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
    c, k = config.channels, config.n_features
    cells = k * length
    rows = 4 * c * c + 2 * c * config.feed_width  # of one cell in one transformer: qkv, out, feed
    over_time = cells * (rows + 2 * length * c) if length > 1 else 0
    over_features = cells * (rows + 2 * k * c) if k > 1 else 0
    gates = cells * (2 * c * c + 2 * c * c)  # mid and output projections
    block = over_time + over_features + gates + config.step_width * c
    ends = cells * (2 * c + c * c + c)
    return 2 * (config.layers * block + ends + 2 * config.step_width**2)
