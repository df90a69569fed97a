"""The CSDI transformer (Tashiro et al., NeurIPS 2021), written for speed."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from tsimpute.denoiser.blocks import Arrangement, ResidualBlock, Side, WholeWindows
from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.context import NO_CONTEXT, Context
from tsimpute.denoiser.embeddings import StepEmbedding, time_code


class CSDIDenoiser(nn.Module):
    """Predicts the noise in the target cells of a window from the given cells.

    The side information (time, feature, which cells are given) depends neither on the step nor
    on the sample, and its projection is linear, so it is factored into a part by time, one by
    feature and one for the mask, and computed once per call of :meth:`project_side`. Covariates
    are projected onto the code of their row's time, by weights that are 0 at first.
    """

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        self.config = config
        c = config.channels
        self.step_embedding = StepEmbedding(config.step_width)
        self.feature_embedding = nn.Embedding(config.n_features, config.feature_width)
        self.input_projection = nn.Linear(2, c)
        self.blocks = nn.ModuleList(ResidualBlock(config) for _ in range(config.layers))
        self.skip_projection = nn.Linear(c, c)
        self.output_projection = nn.Linear(c, 1)
        self._initialise()
        if config.n_covariates:  # last: what is drawn for the other weights stays the same
            self.covariate_projection = nn.Linear(config.n_covariates, config.time_width, False)
            nn.init.zeros_(self.covariate_projection.weight)

    def _initialise(self) -> None:
        pointwise = [self.input_projection, self.skip_projection]
        for block in self.blocks:
            assert isinstance(block, ResidualBlock)
            pointwise += [block.mid_projection, block.side_projection, block.output_projection]
            for layer in (block.time_layer, block.feature_layer):
                nn.init.xavier_uniform_(layer.qkv.weight)
                nn.init.zeros_(layer.qkv.bias)
                nn.init.zeros_(layer.attention_out.bias)
        for linear in pointwise:
            nn.init.kaiming_normal_(linear.weight)
        nn.init.zeros_(self.output_projection.weight)

    def project_side(
        self,
        positions: Tensor,
        context: Context = NO_CONTEXT,
        features: Tensor | None = None,
    ) -> list[Side]:
        """Side information of windows for every block; rows are at positions (L,), in steps.

        Where the windows have positions of their own, those count. Their features are all that
        the network knows, or those with the given numbers (K,).
        """
        at = positions if context.positions is None else context.positions
        time = time_code(at.float(), self.config.time_width)  # (L, E) or (B, L, E)
        if context.covariates is not None:
            time = time + self.covariate_projection(context.covariates)  # (B, L, E)
        feature = self.feature_embedding.weight
        if features is not None:
            feature = feature[features]
        return [block.project_side(time, feature) for block in self.blocks]  # type: ignore[operator]

    def forward(
        self,
        x: Tensor,
        condition: Tensor,
        given_mask: Tensor,
        step: Tensor,
        is_real: Tensor | None = None,
        side: list[Side] | None = None,
        context: Context = NO_CONTEXT,
    ) -> Tensor:
        """Predict the noise.

        Parameters
        ----------
        x : Tensor of float, shape (B, L, K)
            Noisy values; only read where `given_mask` is False.
        condition : Tensor of float, shape (B, L, K)
            Clean values where given; elsewhere 0 (CSDI) or what is expected there.
        given_mask : Tensor of bool, shape (B, L, K)
            True where the value is given.
        step : Tensor of float, shape (B,)
            Noise level in units of the original 0-based diffusion step.
        is_real : Tensor of bool, shape (B, L), optional
            False on padding rows, which the attention then ignores.
        side : list of Side, optional
            From :meth:`project_side`; computed for positions 0..L-1 when absent.
        context : Context, optional
            Of the windows; only read where `side` is absent.

        Returns
        -------
        Tensor of float, shape (B, L, K)
        """
        return self.noise(self.trunk(x, condition, given_mask, step, is_real, side, context))

    def trunk(
        self,
        x: Tensor,
        condition: Tensor,
        given_mask: Tensor,
        step: Tensor,
        is_real: Tensor | None = None,
        side: list[Side] | None = None,
        context: Context = NO_CONTEXT,
    ) -> Tensor:
        """What every output is read from; arguments as in `forward`, result (B, K, L, C)."""
        side = self.project_side(_positions(x), context) if side is None else side
        given = given_mask.transpose(1, 2)[..., None].to(x.dtype)  # (B, K, L, 1)
        channels = [condition, x * ~given_mask]
        h = torch.stack(channels, dim=-1).transpose(1, 2)  # (B, K, L, 2)
        return self.through_blocks(h, given, step, side, WholeWindows(is_real))

    def through_blocks(
        self, h: Tensor, given: Tensor, step: Tensor, side: list[Side], cells: Arrangement
    ) -> Tensor:
        """From the two input channels of cells (..., 2) to the trunk (..., C)."""
        h = functional.relu(self.input_projection(h))
        code = self.step_embedding(step)
        skips = []
        for block, block_side in zip(self.blocks[:-1], side[:-1], strict=True):
            h, skip = block(h, code, block_side, given, cells)
            skips.append(skip)
        last: ResidualBlock = self.blocks[-1]  # type: ignore[assignment]
        total = last.skip(h, code, side[-1], given, cells)
        for skip in skips:
            total.add_(skip)
        return total.div_(math.sqrt(len(self.blocks)))

    def noise(self, trunk: Tensor) -> Tensor:
        """Predicted noise (B, L, K) from the trunk (B, K, L, C)."""
        return self.read_noise(trunk).transpose(1, 2)

    def read_noise(self, trunk: Tensor) -> Tensor:
        """Predicted noise (...) from the trunk (..., C) of cells."""
        out = self.output_projection(functional.relu(self.skip_projection(trunk)))
        return out.squeeze(-1)  # type: ignore[no-any-return]


def _positions(x: Tensor) -> Tensor:
    return torch.arange(x.shape[1], device=x.device, dtype=torch.float32)


def n_parameters(module: nn.Module) -> int:
    """Count the trainable numbers of a module."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
