"""A slow twin of the network, written plainly and named as in the official checkpoints."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.denoiser.csdi_weights import translate

TIME, FEATURE, STEP = 128, 16, 128  # widths of the three codes
FEED = 64  # of the feed-forward layers, whatever the channels


def _transformer(channels: int, heads: int) -> nn.TransformerEncoder:
    """One post-norm layer with GELU; inputs are (sequence, batch, channels)."""
    layer = nn.TransformerEncoderLayer(channels, heads, FEED, 0.1, activation="gelu")
    return nn.TransformerEncoder(layer, num_layers=1, enable_nested_tensor=False)


class TwinBlock(nn.Module):
    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.diffusion_projection = nn.Linear(STEP, channels)
        self.cond_projection = nn.Conv1d(TIME + FEATURE + 1, 2 * channels, 1)
        self.mid_projection = nn.Conv1d(channels, 2 * channels, 1)
        self.output_projection = nn.Conv1d(channels, 2 * channels, 1)
        self.time_layer = _transformer(channels, heads)
        self.feature_layer = _transformer(channels, heads)

    def forward(self, x: Tensor, side: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        b, c, k, length = x.shape
        y = x + self.diffusion_projection(step)[:, :, None, None]
        if length > 1:
            rows = y.permute(3, 0, 2, 1).reshape(length, b * k, c)
            y = self.time_layer(rows).reshape(length, b, k, c).permute(1, 3, 2, 0)
        if k > 1:
            rows = y.permute(2, 0, 3, 1).reshape(k, b * length, c)
            y = self.feature_layer(rows).reshape(k, b, length, c).permute(1, 3, 0, 2)
        y = self.mid_projection(y.reshape(b, c, k * length))
        y = y + self.cond_projection(side.reshape(b, -1, k * length))
        y = self.output_projection(torch.sigmoid(y[:, :c]) * torch.tanh(y[:, c:]))
        residual, skip = y[:, :c].reshape(x.shape), y[:, c:].reshape(x.shape)
        return (x + residual) / math.sqrt(2), skip


class TwinTrunk(nn.Module):
    def __init__(self, channels: int, heads: int, layers: int) -> None:
        super().__init__()
        self.diffusion_embedding = nn.ModuleDict(
            {"projection1": nn.Linear(STEP, STEP), "projection2": nn.Linear(STEP, STEP)}
        )
        self.input_projection = nn.Conv1d(2, channels, 1)
        self.residual_layers = nn.ModuleList(TwinBlock(channels, heads) for _ in range(layers))
        self.output_projection1 = nn.Conv1d(channels, channels, 1)
        self.output_projection2 = nn.Conv1d(channels, 1, 1)

    def forward(self, x: Tensor, side: Tensor, step: Tensor) -> Tensor:
        b, _, k, length = x.shape
        y = torch.relu(self.input_projection(x.reshape(b, 2, k * length)))
        y = y.reshape(b, -1, k, length)
        code = functional.silu(self.diffusion_embedding["projection1"](twin_step_code(step)))
        code = functional.silu(self.diffusion_embedding["projection2"](code))
        skips = []
        for block in self.residual_layers:
            y, skip = block(y, side, code)
            skips.append(skip)
        y = torch.stack(skips).sum(0) / math.sqrt(len(skips))
        y = torch.relu(self.output_projection1(y.reshape(b, -1, k * length)))
        return self.output_projection2(y).reshape(b, k, length)


class Twin(nn.Module):
    """CSDI in its own layout: every argument is (B, K, L), masks are 0 or 1."""

    def __init__(self, n_features: int, channels: int, heads: int, layers: int) -> None:
        super().__init__()
        self.embed_layer = nn.Embedding(n_features, FEATURE)
        self.diffmodel = TwinTrunk(channels, heads, layers)

    def forward(self, x0: Tensor, x: Tensor, cond_mask: Tensor, step: Tensor) -> Tensor:
        b, k, length = x.shape
        time = twin_time_code(torch.arange(length)).T[None, :, None].expand(b, -1, k, -1)
        feature = self.embed_layer.weight.T[None, :, :, None].expand(b, -1, -1, length)
        side = torch.cat([time, feature, cond_mask[:, None]], dim=1)  # (B, 145, K, L)
        channels = torch.stack([cond_mask * x0, (1 - cond_mask) * x], dim=1)
        return self.diffmodel(channels, side, step)


def twin_time_code(positions: Tensor) -> Tensor:
    code = torch.zeros(len(positions), TIME)
    for i in range(TIME // 2):
        phase = positions / 10_000 ** (2 * i / TIME)
        code[:, 2 * i], code[:, 2 * i + 1] = torch.sin(phase), torch.cos(phase)
    return code


def twin_step_code(step: Tensor) -> Tensor:
    """In the float32 operations of the reference: 10,000 radians a step leave no other choice."""
    frequency = 10.0 ** (torch.arange(STEP // 2) / (STEP // 2 - 1) * 4.0)
    phase = step.float()[:, None] * frequency[None]
    return torch.cat([torch.sin(phase), torch.cos(phase)], dim=1)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small only lose by threads, and a sum in another order is another sum."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


Pair = Callable[..., tuple[CSDIDenoiser, Twin]]


@pytest.fixture
def make_pair() -> Pair:
    """Our network and the twin with the same random weights, both in eval mode."""

    def make(
        n_features: int, channels: int = 16, heads: int = 8, layers: int = 2
    ) -> tuple[CSDIDenoiser, Twin]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            twin = Twin(n_features, channels, heads, layers)
            for parameter in twin.parameters():
                parameter.data += 0.1 * torch.randn_like(parameter)
        config = DenoiserConfig(n_features, channels=channels, heads=heads, layers=layers)
        network = CSDIDenoiser(config)
        network.load_state_dict(translate(twin.state_dict()))
        return network.eval(), twin.eval()

    return make
