"""The images, the classifier, and the Frechet distance in its features."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from network import Classifier
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch import Tensor
from torch.nn import functional


@cache
def images() -> tuple[Tensor, Tensor]:
    """All 1,797 images (N, 1, 8, 8) in [-1, 1], and their digits."""
    data = load_digits()
    values = torch.from_numpy(data.images).float()[:, None] / 8 - 1
    return values, torch.from_numpy(data.target)


def split() -> tuple[Tensor, Tensor]:
    """Training images and held-out ones, a sixth, in a fixed order."""
    values, _ = images()
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(values)))
    return values[order[300:]], values[order[:300]]


def trained_classifier(file: Path) -> Classifier:
    """A classifier of all but the held-out images, kept in a file."""
    torch.manual_seed(0)
    network = Classifier()
    if file.exists():
        network.load_state_dict(torch.load(file, weights_only=True))
        return network.eval()
    values, labels = images()
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(values)))
    train, test = order[300:], order[:300]
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3, weight_decay=1e-4)
    for _ in range(1500):
        rows = train[torch.randint(len(train), (128,))]
        optimiser.zero_grad()
        functional.cross_entropy(network(values[rows]), labels[rows]).backward()
        optimiser.step()
    network.eval()
    with torch.no_grad():
        right = (network(values[test]).argmax(1) == labels[test]).float().mean()
    print(f"classifier: {right:.1%} of 300 held-out digits are told right")
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), file)
    return network


@torch.no_grad()
def features(classifier: Classifier, values: Tensor) -> NDArray[np.float64]:
    """Last hidden layer (N, D)."""
    return classifier.body(values).double().numpy()


def frechet_distance(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Between Gaussians with the moments of two sets of features (Heusel et al. 2017)."""
    gap = first.mean(axis=0) - second.mean(axis=0)
    one, two = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    values, vectors = np.linalg.eigh(one)
    half = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    roots = np.sqrt(np.linalg.eigvalsh(half @ two @ half).clip(0))
    return float(gap @ gap + np.trace(one) + np.trace(two) - 2 * roots.sum())
