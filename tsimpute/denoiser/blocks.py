"""The parts of the CSDI network, channels last: (B, K, L, C), or (N, C) for cells in any order."""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from tsimpute.denoiser.attention import attend, attend_by_head, suits_by_head
from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.dropout import dropout
from tsimpute.denoiser.layout import AxisLayout


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
        self.heads, self.head_width = config.heads, channels // config.heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.attention_out = nn.Linear(channels, channels)
        self.norm_attention = nn.LayerNorm(channels)
        self.feed_in = nn.Linear(channels, config.feed_width)
        self.feed_out = nn.Linear(config.feed_width, channels)
        self.norm_feed = nn.LayerNorm(channels)
        self.dropout = config.dropout
        self.attention_dropout = config.attention_dropout

    def forward(
        self, x: Tensor, is_real: Tensor | None = None, layout: AxisLayout | None = None
    ) -> Tensor:
        """Attend along axis -2 of x (N, S, C); cells with is_real (N, S) False are not seen.

        With a layout x are cells (N, C) and attend along its rows, which `is_real` is of.
        """
        x = self.norm_attention(self._drop(self._attend(x, is_real, layout)).add_(x))
        hidden = self._drop(functional.gelu(self.feed_in(x)))
        out: Tensor = self.norm_feed(self._drop(self.feed_out(hidden)).add_(x))
        return out

    def _drop(self, x: Tensor) -> Tensor:
        return dropout(x, self.dropout, self.training)

    def _attend(self, x: Tensor, is_real: Tensor | None, layout: AxisLayout | None) -> Tensor:
        drop = self.attention_dropout if self.training else 0.0
        size = x.shape[-2] if layout is None else layout.width
        if suits_by_head(x, size, self.head_width, drop):
            return self._attend_by_head(x, is_real, layout)
        qkv = self.qkv(x)
        if layout is None:
            mixed = self._mix(qkv, is_real, drop)
        else:
            mixed = layout.to_cells(self._mix(layout.to_rows(qkv), is_real, drop))
        out: Tensor = self.attention_out(mixed)
        return out

    def _mix(self, qkv: Tensor, is_real: Tensor | None, drop: float) -> Tensor:
        n, size, width = qkv.shape
        split = qkv.view(n, size, 3, self.heads, self.head_width)
        q, k, v = split.permute(2, 0, 3, 1, 4)  # each (N, heads, S, C / heads)
        mixed = attend(q, k, v, is_real, drop)
        return mixed.transpose(1, 2).reshape(n, size, width // 3)

    def _attend_by_head(
        self, x: Tensor, is_real: Tensor | None, layout: AxisLayout | None
    ) -> Tensor:
        """The same with sequences along the last axis, (N, channels, S), inside."""
        weight, bias = self._qkv_by_head()
        # A gradient of weights that are a factor of each sequence by itself takes longer.
        each = layout is None and not weight.requires_grad
        if each:
            qkv = torch.baddbmm(bias[:, None], weight.expand(len(x), -1, -1), x.transpose(1, 2))
        else:
            cells = functional.linear(x, weight, bias)
            rows = cells if layout is None else layout.to_rows(cells)
            qkv = rows.transpose(1, 2).contiguous()
        n, width, size = qkv.shape
        by_head = qkv.view(n, self.heads, width // self.heads, size)
        mixed = attend_by_head(by_head, is_real).reshape(n, -1, size).transpose(1, 2)
        if each:
            out_weight = self.attention_out.weight.T.expand(n, -1, -1)
            return torch.baddbmm(self.attention_out.bias, mixed, out_weight)
        out: Tensor = self.attention_out(mixed if layout is None else layout.to_cells(mixed))
        return out

    def _qkv_by_head(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of query, key, value and a constant 1 of each head in turn."""
        shape = (3, self.heads, self.head_width, -1)
        weight, bias = (
            part.view(shape).transpose(0, 1).flatten(1, 2)
            for part in (self.qkv.weight, self.qkv.bias)
        )  # each (heads, 3 C / heads, C or 1)
        weight = functional.pad(weight, (0, 0, 0, 1))
        bias = functional.pad(bias, (0, 0, 0, 1), value=1.0)
        return weight.flatten(0, 1), bias.flatten()


class Arrangement(Protocol):
    """How the cells of a batch of windows lie in a tensor, so that a block need not know."""

    def by_window(self, code: Tensor) -> Tensor:
        """A vector a window (B, C), in a shape that can be added to every cell."""

    def over_time(self, layer: AxisTransformer, y: Tensor) -> Tensor:
        """Let the cells of a feature attend to each other."""

    def over_features(self, layer: AxisTransformer, y: Tensor) -> Tensor:
        """Let the cells of a row attend to each other."""


class WholeWindows(NamedTuple):
    """All cells of windows, (B, K, L, C); `is_real` (B, L) is False on padding rows."""

    is_real: Tensor | None

    def by_window(self, code: Tensor) -> Tensor:
        """As (B, 1, 1, C)."""
        return code[:, None, None]

    def over_time(self, layer: AxisTransformer, y: Tensor) -> Tensor:
        """Rows are the features of windows."""
        b, k, length, c = y.shape
        if length == 1:
            return y
        is_real = None if self.is_real is None else self.is_real.repeat_interleave(k, dim=0)
        out: Tensor = layer(y.reshape(b * k, length, c), is_real)
        return out.view(b, k, length, c)

    def over_features(self, layer: AxisTransformer, y: Tensor) -> Tensor:
        """Rows are the times of windows."""
        b, k, length, c = y.shape
        if k == 1:
            return y
        out: Tensor = layer(y.transpose(1, 2).reshape(b * length, k, c))
        return out.view(b, length, k, c).transpose(1, 2)


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
        self, x: Tensor, step: Tensor, side: Side, given: Tensor, cells: Arrangement
    ) -> tuple[Tensor, Tensor]:
        """Return the next x and the skip, each like x; `given` is 0 or 1, with one channel."""
        y = self.output_projection(self._gated(x, step, side, given, cells))
        residual, skip = y.chunk(2, dim=-1)
        onward: Tensor = (x + residual).div_(math.sqrt(2))
        return onward, skip

    def skip(
        self, x: Tensor, step: Tensor, side: Side, given: Tensor, cells: Arrangement
    ) -> Tensor:
        """Return the skip alone: all that is read of the last block.

        No gradient reaches the weights of its next x, and weight decay makes subnormal numbers of
        them in a long training, with which processors multiply thirty times slower.
        """
        _, weight = self.output_projection.weight.chunk(2)
        _, bias = self.output_projection.bias.chunk(2)
        return functional.linear(self._gated(x, step, side, given, cells), weight, bias)

    def _gated(
        self, x: Tensor, step: Tensor, side: Side, given: Tensor, cells: Arrangement
    ) -> Tensor:
        y = x + cells.by_window(self.step_projection(step))
        y = cells.over_features(self.feature_layer, cells.over_time(self.time_layer, y))
        y = self.mid_projection(y).add_(side.base)
        if side.by_row is not None:
            y.add_(side.by_row)
        y.addcmul_(given, side.mask_weight)
        gate, content = y.chunk(2, dim=-1)
        gated: Tensor = gate.sigmoid() * content.tanh()
        return gated
