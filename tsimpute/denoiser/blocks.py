"""The parts of the CSDI network, channels last: every tensor is (B, K, L, C)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from tsimpute.denoiser.attention import attend
from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.dropout import dropout


class Side(NamedTuple):
    """Side information of one block, already projected, in factored form.

    `base` (K, L, 2C) is the same for every series, or (K, 1, 2C) where each window has its own
    `by_row` (B, 1, L, 2C) besides; `mask_weight` (2C,) is added where a cell is given to the
    network as a condition.
    """

    base: Tensor
    mask_weight: Tensor
    by_row: Tensor | None = None

    def take(self, windows: Tensor) -> Side:
        """Of some of the windows."""
        return self if self.by_row is None else self._replace(by_row=self.by_row[windows])


class AxisTransformer(nn.Module):
    """One post-norm transformer layer over the second-last axis, with a fused QKV projection."""

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        channels = config.channels
        self.heads = config.heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.attention_out = nn.Linear(channels, channels)
        self.norm_attention = nn.LayerNorm(channels)
        self.feed_in = nn.Linear(channels, config.feed_width)
        self.feed_out = nn.Linear(config.feed_width, channels)
        self.norm_feed = nn.LayerNorm(channels)
        self.dropout = config.dropout
        self.attention_dropout = config.attention_dropout

    def forward(self, x: Tensor, is_real: Tensor | None = None) -> Tensor:
        """Attend along axis -2 of x (N, S, C); cells with is_real (N, S) False are not seen."""
        x = self.norm_attention(x + self._drop(self._attend(x, is_real)))
        hidden = self._drop(functional.gelu(self.feed_in(x)))
        out: Tensor = self.norm_feed(x + self._drop(self.feed_out(hidden)))
        return out

    def _drop(self, x: Tensor) -> Tensor:
        return dropout(x, self.dropout, self.training)

    def _attend(self, x: Tensor, is_real: Tensor | None) -> Tensor:
        n, size, channels = x.shape
        qkv = self.qkv(x).view(n, size, 3, self.heads, channels // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (N, heads, S, C / heads)
        mixed = attend(q, k, v, is_real, self.attention_dropout if self.training else 0.0)
        out: Tensor = self.attention_out(mixed.transpose(1, 2).reshape(n, size, channels))
        return out


class ResidualBlock(nn.Module):
    """Time transformer, feature transformer, side information, gate (CSDI, Figure 7)."""

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        channels = config.channels
        self.step_projection = nn.Linear(config.step_width, channels)
        self.time_layer = AxisTransformer(config)
        self.feature_layer = AxisTransformer(config)
        self.mid_projection = nn.Linear(channels, 2 * channels)
        self.side_projection = nn.Linear(config.side_width, 2 * channels)
        self.output_projection = nn.Linear(channels, 2 * channels)

    def project_side(self, time: Tensor, feature: Tensor) -> Side:
        """Project codes of time (L, E) or (B, L, E) and of feature (K, F) once.

        The mask has the last weight.
        """
        weight, bias = self.side_projection.weight, self.side_projection.bias
        n_time, n_feature = time.shape[-1], feature.shape[-1]
        by_time = time @ weight[:, :n_time].T  # (L, 2C) or (B, L, 2C)
        by_feature = feature @ weight[:, n_time : n_time + n_feature].T + bias  # (K, 2C)
        if by_time.ndim == 3:
            return Side(by_feature[:, None], weight[:, -1], by_time[:, None])
        return Side(by_feature[:, None] + by_time, weight[:, -1])

    def forward(
        self, x: Tensor, step: Tensor, side: Side, given: Tensor, is_real: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the next x and the skip, each (B, K, L, C); `given` is (B, K, L, 1) of 0 or 1."""
        y = x + self.step_projection(step)[:, None, None]
        y = self._over_features(self._over_time(y, is_real))
        y = self.mid_projection(y) + side.base
        if side.by_row is not None:
            y = y + side.by_row
        y = torch.addcmul(y, given, side.mask_weight)
        gate, content = y.chunk(2, dim=-1)
        y = self.output_projection(gate.sigmoid() * content.tanh())
        residual, skip = y.chunk(2, dim=-1)
        return (x + residual) / math.sqrt(2), skip

    def _over_time(self, y: Tensor, is_real: Tensor | None) -> Tensor:
        b, k, length, c = y.shape
        if length == 1:
            return y
        rows = None if is_real is None else is_real.repeat_interleave(k, dim=0)  # (B * K, L)
        out: Tensor = self.time_layer(y.reshape(b * k, length, c), rows)
        return out.view(b, k, length, c)

    def _over_features(self, y: Tensor) -> Tensor:
        b, k, length, c = y.shape
        if k == 1:
            return y
        rows = y.transpose(1, 2).reshape(b * length, k, c)
        out: Tensor = self.feature_layer(rows)
        return out.view(b, length, k, c).transpose(1, 2)
