"""Step masks on images: the same NoiseSchedule, StepMaskLearner, TimeGrid and samplers.

    python benchmarks/images/run.py       # two hours of a busy core, half of it for 1000
    python benchmarks/images/run.py --iterations 200 --samples 200 --steps 5 10   # a trial

scikit-learn's 8 x 8 digits, T = 1000, linear schedule, as EDDPM's image experiment (Zhang et al.
2024, Section 5.2). One U-Net is trained with every step. For each number of steps, `respaced` walks
evenly spaced steps of it with each sampler; `respaced, fine-tuned` trains it on for a few
iterations on exactly those steps; `EDDPM` learns which steps to keep, by this library's guarded
rule and not by the one that is printed in the paper, and trains as long on them. Quality is the
Frechet distance between samples and all real images in the features of a classifier that is trained
here. Networks and rows are kept: the script can be stopped and started again.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from digits import features, frechet_distance, images, split, trained_classifier
from network import UNet
from torch import Tensor

from tsimpute.diffusion.budget import kept_steps_at
from tsimpute.diffusion.losses import noise_to_level
from tsimpute.diffusion.schedule import TimeGrid, make_schedule, spaced_indices
from tsimpute.diffusion.step_mask import StepMaskLearner, exchange_steps
from tsimpute.samplers.catalogue import SAMPLERS
from tsimpute.samplers.protocol import Prediction, Sampler, clamped
from tsimpute.samplers.variance import fixed, large
from tsimpute.training.ema import WeightAverage, load_weights
from tsimpute.training.level_errors import LevelErrors

sys.path.append(str(Path(__file__).resolve().parents[1] / "accuracy"))
from records import CACHE, RESULTS, add_row, circumstances, has_row

FILE = RESULTS / "images.csv"
KEY = ["kind", "sampler", "variance", "steps", "iterations", "n_samples", "seed"]
FOLDER = CACHE / "images"
WALKS: tuple[tuple[str, str], ...] = (
    ("ddpm", "fixed"),
    ("ddpm", "large"),
    ("ddim", "fixed"),
    ("dpm-solver++2m", "fixed"),
    ("s-pndm", "fixed"),
)
SEARCH_UPDATES, MASKS = 300, 64
MOST_EXCHANGED = 25  # single exchanges are tried for chains up to this length: they grow as K T
SCHEDULE = make_schedule("linear", 1000, 1e-4, 0.02)
VARIANCES = {"fixed": fixed, "large": large}


def train(
    network: UNet, grid: TimeGrid, iterations: int, rate: float, seed: int, label: str
) -> UNet:
    """Noise prediction at the levels of a grid; the averaged weights."""
    generator = torch.Generator().manual_seed(seed)
    values, _ = split()
    average = WeightAverage(network, 0.999)
    optimiser = torch.optim.Adam(network.parameters(), lr=rate)
    alpha_bar = torch.from_numpy(grid.alpha_bar).float()
    network.train()
    begun = time.perf_counter()
    for i in range(iterations):
        rows = torch.randint(len(values), (128,), generator=generator)
        place = torch.randint(len(grid), (128,), generator=generator)
        noise = torch.randn((128, 1, 8, 8), generator=generator)
        loss = noise_error(network, values[rows], noise, alpha_bar[place], grid, place).mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        average.update(network)
        if (i + 1) % 500 == 0 or i + 1 == iterations:
            seconds = time.perf_counter() - begun
            print(
                f"  {label}: {i + 1} of {iterations}, loss {loss:.4f}, {seconds:.0f} s", flush=True
            )
    load_weights(network, average.weights)
    return network.eval()


def noise_error(
    network: UNet, x0: Tensor, noise: Tensor, level: Tensor, grid: TimeGrid, place: Tensor
) -> Tensor:
    """Mean squared error of the predicted noise of each image."""
    step = torch.from_numpy(grid.network_step).float()[place]
    predicted = network(noise_to_level(x0, noise, level), step)
    return (predicted - noise).square().mean((1, 2, 3))


def kept(name: str, make: Any) -> UNet:
    """A network from its file, or made now and kept."""
    file = FOLDER / f"{name}.pt"
    if file.exists():
        network = UNet()
        network.load_state_dict(torch.load(file, weights_only=True))
        return network.eval()
    network = make()
    FOLDER.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), file)
    return network


@torch.no_grad()
def level_errors(network: UNet, seed: int) -> LevelErrors:
    """Error of the noise by step, on held-out images."""
    _, held_out = split()
    generator = torch.Generator().manual_seed(seed + 1)
    grid, table = SCHEDULE.full(), LevelErrors.unknown(SCHEDULE.alpha_bar)
    alpha_bar = torch.from_numpy(grid.alpha_bar).float()
    for _ in range(40):
        noise = torch.randn(held_out.shape, generator=generator)
        place = torch.randint(len(grid), (len(held_out),), generator=generator)
        error = noise_error(network, held_out, noise, alpha_bar[place], grid, place)
        table.add(place.numpy(), 64 * error.double().numpy(), np.full(len(place), 64.0))
    return table


def learned_grid(network: UNet, n_steps: int, seed: int) -> tuple[TimeGrid, np.ndarray]:
    """The steps that EDDPM's guarded rule keeps, and the keep-probabilities at the end."""
    errors, rng = level_errors(network, seed), np.random.default_rng([seed, n_steps])
    learner = StepMaskLearner.all_kept(SCHEDULE.n_steps, 0.25, floor=min(0.02, n_steps / 4000))
    for update in range(SEARCH_UPDATES):
        masks = learner.draw(MASKS, rng)
        budget = kept_steps_at((update + 1) / SEARCH_UPDATES, SCHEDULE.n_steps, n_steps)
        learner.update(masks, errors.price(masks), budget)
    mask = learner.best_mask(n_steps)
    if n_steps <= MOST_EXCHANGED:
        mask = exchange_steps(mask, errors.price)
    return SCHEDULE.respaced(np.flatnonzero(mask)), learner.keep_prob


def sample(
    network: UNet, walk: Sampler, variance: str, grid: TimeGrid, n: int, seed: int
) -> Tensor:
    """Images (n, 1, 8, 8), clamped to their range at the end."""
    generator = torch.Generator().manual_seed(seed)

    def denoise(x: Tensor, network_step: float, alpha_bar: float) -> Prediction:
        return Prediction(network(x, torch.full((len(x),), network_step)))

    within = clamped(denoise, torch.tensor(-1.0), torch.tensor(1.0))
    parts = []
    with torch.no_grad():
        for first in range(0, n, 500):
            shape = (min(500, n - first), 1, 8, 8)

            def draw(shape: tuple[int, ...] = shape) -> Tensor:
                return torch.randn(shape, generator=generator)

            parts.append(walk(within, draw(), grid, VARIANCES[variance], draw))
    return torch.cat(parts).clamp(-1, 1)


def settings(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Every row, few steps first."""
    for n_steps in sorted(options.steps):
        for sampler, variance in WALKS:
            yield {"kind": "respaced", "sampler": sampler, "variance": variance, "steps": n_steps}
        if n_steps < SCHEDULE.n_steps:
            for kind in ("respaced, fine-tuned", "EDDPM"):
                for sampler, variance in WALKS[:3]:
                    yield {"kind": kind, "sampler": sampler, "variance": variance, "steps": n_steps}


def prepared(row: dict[str, Any], base: UNet, options: argparse.Namespace) -> tuple[UNet, TimeGrid]:
    """Network and grid of a row."""
    n_steps = row["steps"]
    even = SCHEDULE.respaced(spaced_indices(SCHEDULE.n_steps, n_steps))
    if row["kind"] == "respaced":
        return base, even
    name = f"{row['kind']}-{n_steps}-{options.iterations}-{options.seed}"
    if row["kind"] == "EDDPM":
        file = keep_prob_file(n_steps, options.iterations, options.seed)
        if not file.exists():
            grid, keep_prob = learned_grid(base, n_steps, options.seed)
            FOLDER.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(file, index=grid.index, keep_prob=keep_prob)
        even = SCHEDULE.respaced(np.load(file)["index"])
    again = options.iterations // 10

    def make() -> UNet:
        return train(copy.deepcopy(base), even, again, 1e-4, options.seed + 2, name)

    return kept(name, make), even


def main() -> None:
    """Train what is not there yet, and add the rows that the result file does not have."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--iterations", type=int, default=6000, help="of the first training")
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, nargs="+", default=[5, 10, 25, 50, 100, 200, 1000])
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    told = circumstances()
    classifier = trained_classifier(FOLDER / "classifier.pt")
    real = features(classifier, images()[0])
    train_part, held_out = (features(classifier, part) for part in split())
    print(
        f"distance of held-out from training images: {frechet_distance(train_part, held_out):.3f}"
    )
    torch.manual_seed(options.seed)
    full = SCHEDULE.full()
    name = f"base-{options.iterations}-{options.seed}"
    base = kept(name, lambda: train(UNet(), full, options.iterations, 1e-3, options.seed, "base"))
    for row in settings(options):
        asked = row | {"iterations": options.iterations, "n_samples": options.samples}
        asked |= {"seed": options.seed}
        if has_row(FILE, asked):
            continue
        network, grid = prepared(row, base, options)
        begun = time.perf_counter()
        walk = SAMPLERS[row["sampler"]]
        drawn = sample(network, walk, row["variance"], grid, options.samples, options.seed)
        seconds = time.perf_counter() - begun
        found = {
            "frechet_distance": frechet_distance(features(classifier, drawn), real),
            "seconds": round(seconds, 1),
            "kept": " ".join(map(str, grid.index)) if len(grid) <= 50 else "",
        }
        add_row(FILE, asked | found | told, KEY)
        keep_some(asked, drawn)
        line = (
            f"{row['kind']:22s} {row['sampler']:15s} {row['variance']:6s} {row['steps']:5d} steps"
        )
        print(f"{line}: distance {found['frechet_distance']:8.3f}, {seconds:.0f} s", flush=True)


def samples_file(row: Mapping[str, Any]) -> Path:
    """Where a few samples of a row are kept."""
    parts = ("kind", "sampler", "variance", "steps", "iterations", "seed")
    return FOLDER / "samples" / f"{'-'.join(str(row[part]) for part in parts)}.npy"


def keep_prob_file(n_steps: int, iterations: int, seed: int) -> Path:
    """Where the steps that were learned are kept, with their keep-probabilities."""
    return FOLDER / f"EDDPM-{n_steps}-{iterations}-{seed}.keep_prob.npz"


def keep_some(row: Mapping[str, Any], drawn: Tensor) -> None:
    """A few samples for the picture."""
    file = samples_file(row)
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, drawn[:16, 0].numpy())


if __name__ == "__main__":
    main()
