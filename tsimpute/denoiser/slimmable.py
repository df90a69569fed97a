"""One network of many widths: the only place that knows how widths are sliced.

A width is a number of eighths of the channels, 2 to 8, as in DDSM (Yang et al. 2024). The network
of a width has the leading channels of the whole one, the leading attention heads (never a part of
one), and the leading units of the feed-forward layers; the codes of time, feature and step stay
whole. Where a layer makes several things at once (query, key and value; gate and content; residual
and skip), each of them is sliced. Layer norms take mean and variance over the channels that are
there, so that they need nothing of their own at any width.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.denoiser.heads import OutputHead
from tsimpute.errors import InputError

NARROWEST, WHOLE = 2, 8

# How many things the rows of a layer make; 1 where it is not named.
_GROUPS = {"qkv": 3, "mid_projection": 2, "side_projection": 2, "output_projection": 2}


def allowed_widths(config: DenoiserConfig) -> tuple[int, ...]:
    """Widths, in eighths, at which no head is cut; the last is 8, the whole network.

    Examples
    --------
    >>> allowed_widths(DenoiserConfig(n_features=3, channels=64, heads=4))
    (2, 4, 6, 8)
    """
    return tuple(w for w in range(NARROWEST, WHOLE + 1) if config.heads * w % WHOLE == 0)


def check_slimmable(config: DenoiserConfig) -> None:
    """Refuse a network that has no width but the whole one.

    Raises
    ------
    InputError
        Naming numbers of heads that would do.
    """
    if len(allowed_widths(config)) == 1:
        raise InputError(
            f"heads={config.heads}: got a network that has no narrower width without cutting a "
            f"head, expected an even number of heads; with 8 there is every width"
        )


def narrow_config(config: DenoiserConfig, width: int) -> DenoiserConfig:
    """Shape of the network at a width.

    Raises
    ------
    InputError
        If the width is none or would cut a head; the message names those that do not.
    """
    allowed = allowed_widths(config)
    if isinstance(width, bool) or width not in allowed:
        raise InputError(
            f"width={width!r} (in eighths) cannot be used: it is none, or would cut one of the "
            f"heads={config.heads}; expected one of {list(allowed)}"
        )
    return replace(
        config,
        channels=config.channels * width // WHOLE,
        heads=config.heads * width // WHOLE,
        feed_width=-(-config.feed_width * width // WHOLE),
    )


def sliced(weights: Mapping[str, Tensor], config: DenoiserConfig, width: int) -> dict[str, Tensor]:
    """Weights of the network at a width, as differentiable slices of the whole one's.

    Parameters
    ----------
    weights : mapping of str to Tensor
        All parameters of a `CSDIDenoiser` of shape `config`.
    config : DenoiserConfig
    width : int
        In eighths.

    Returns
    -------
    dict of str to Tensor
        Parameters of a `CSDIDenoiser` of shape ``narrow_config(config, width)``.
    """
    shapes = {name: p.shape for name, p in _skeleton(narrow_config(config, width)).items()}
    return {name: _leading(weights[name], shapes[name], _groups(name)) for name in shapes}


def narrowed(network: CSDIDenoiser, width: int) -> CSDIDenoiser:
    """The network at a width, to be evaluated: itself at 8, else one with a copy of the slices.

    Raises
    ------
    InputError
        As in `narrow_config`.
    """
    config = narrow_config(network.config, width)
    if width == WHOLE:
        return network
    with torch.device("meta"):
        narrow = CSDIDenoiser(config)
    slices = sliced(network.state_dict(), network.config, width)
    narrow.load_state_dict({name: w.contiguous() for name, w in slices.items()}, assign=True)
    return narrow.requires_grad_(False).train(network.training)


class AtWidth(nn.Module):
    """The network at a width, to be trained: gradients reach the whole network's weights."""

    def __init__(self, network: CSDIDenoiser, width: int) -> None:
        super().__init__()
        self.whole = network
        self.width = width
        with torch.device("meta"):
            self.shape = CSDIDenoiser(narrow_config(network.config, width))

    def forward(self, *inputs: Tensor | None, **more: Any) -> Tensor:
        """As `CSDIDenoiser.forward`."""
        slices = sliced(dict(self.whole.named_parameters()), self.whole.config, self.width)
        self.shape.train(self.whole.training)
        out: Tensor = functional_call(self.shape, slices, inputs, more)
        return out


def narrowed_head(head: OutputHead, channels: int) -> OutputHead:
    """The head for a trunk of the leading channels: it reads them as it reads the whole trunk's.

    That is what it says of a trunk whose further channels are 0.
    """
    if channels == head.hidden.in_features:
        return head
    narrow = copy.deepcopy(head)
    weight = narrow.hidden.weight.detach()[:, :channels].contiguous()
    narrow.hidden.weight = nn.Parameter(weight, requires_grad=False)
    narrow.hidden.in_features = channels
    return narrow


def padded_trunk(trunk: Tensor, channels: int) -> Tensor:
    """Trunk (..., C) of a narrow network with zeros for the channels that it lacks."""
    return functional.pad(trunk, (0, channels - trunk.shape[-1]))


@lru_cache(maxsize=64)
def _skeleton(config: DenoiserConfig) -> dict[str, nn.Parameter]:
    """Parameters of a network, without storage."""
    with torch.device("meta"):
        return dict(CSDIDenoiser(config).named_parameters())


def _groups(name: str) -> int:
    return _GROUPS.get(name.split(".")[-2], 1)


def _leading(tensor: Tensor, shape: torch.Size, groups: int) -> Tensor:
    """Leading rows of each group, and leading columns, as many as the shape has."""
    if tensor.shape[0] != shape[0]:
        grouped = tensor.view(groups, -1, *tensor.shape[1:])
        tensor = grouped[:, : shape[0] // groups].flatten(0, 1)
    return tensor if tensor.ndim == 1 else tensor[:, : shape[1]]
