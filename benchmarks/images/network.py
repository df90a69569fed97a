"""A small U-Net for 8 x 8 images, and a classifier whose features measure distance."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class Block(nn.Module):
    """Two convolutions around the embedding of the diffusion step, with a short cut."""

    def __init__(self, inputs: int, outputs: int, embedding: int, dropout: float) -> None:
        super().__init__()
        self.first_norm = nn.GroupNorm(min(8, inputs), inputs)
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.step = nn.Linear(embedding, outputs)
        self.second_norm = nn.GroupNorm(8, outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.short_cut = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, step: Tensor) -> Tensor:
        h = self.first(functional.silu(self.first_norm(x)))
        h = h + self.step(step)[:, :, None, None]
        h = self.second(self.dropout(functional.silu(self.second_norm(h))))
        return h + self.short_cut(x)


class Attention(nn.Module):
    """Self-attention over the places of a small image."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.attention = nn.MultiheadAttention(channels, 4, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(x).flatten(2).transpose(1, 2)  # (B, 16, C)
        mixed, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        return x + mixed.transpose(1, 2).reshape(x.shape)


class UNet(nn.Module):
    """Predicts the noise in images (B, 1, 8, 8) at diffusion steps (B,)."""

    def __init__(self, channels: int = 16, dropout: float = 0.1) -> None:
        super().__init__()
        self.channels, wide = channels, 4 * channels
        self.embed = nn.Sequential(nn.Linear(channels, wide), nn.SiLU(), nn.Linear(wide, wide))
        self.enter = nn.Conv2d(1, channels, 3, padding=1)
        self.fine = Block(channels, channels, wide, dropout)
        self.down = nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1)  # 4 x 4
        self.coarse = Block(2 * channels, 2 * channels, wide, dropout)
        self.attention = Attention(2 * channels)
        self.middle = Block(2 * channels, 2 * channels, wide, dropout)
        self.up = nn.ConvTranspose2d(2 * channels, channels, 2, stride=2)
        self.joined = Block(2 * channels, channels, wide, dropout)
        self.leave = nn.Sequential(
            nn.GroupNorm(8, channels), nn.SiLU(), nn.Conv2d(channels, 1, 3, padding=1)
        )
        nn.init.zeros_(self.leave[2].weight)
        nn.init.zeros_(self.leave[2].bias)

    def forward(self, x: Tensor, step: Tensor) -> Tensor:
        half = self.channels // 2
        rates = torch.exp(-math.log(10_000) * torch.arange(half) / half)
        angles = step.float()[:, None] * rates
        embedded = self.embed(torch.cat([angles.sin(), angles.cos()], dim=1))
        embedded = functional.silu(embedded)
        fine = self.fine(self.enter(x), embedded)
        coarse = self.middle(self.attention(self.coarse(self.down(fine), embedded)), embedded)
        return self.leave(self.joined(torch.cat([self.up(coarse), fine], dim=1), embedded))


class Classifier(nn.Module):
    """Tells digits apart; its last hidden layer is the space of the Frechet distance."""

    def __init__(self, features: int = 32) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1)),
            *(nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(1024, features), nn.ReLU()),
        )
        self.last = nn.Linear(features, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.body(x))
