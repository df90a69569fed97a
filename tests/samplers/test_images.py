"""Images (B, 1, 8, 8) go through the same schedule, step masks and samplers as series do."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.samplers.oracle import draws_of, exact_noise, true_start
from tsimpute.diffusion.schedule import make_schedule, spaced_indices
from tsimpute.diffusion.step_mask import StepMaskLearner
from tsimpute.samplers.catalogue import SAMPLERS
from tsimpute.samplers.variance import fixed

SHAPE = (3, 1, 8, 8)
SCHEDULE = make_schedule("linear", 20, 1e-3, 0.5)
GRIDS = {
    "full": SCHEDULE.full(),
    "respaced": SCHEDULE.respaced(spaced_indices(20, 6)),
    "masked": SCHEDULE.masked(np.arange(20) % 3 == 1),
}
MEAN = torch.linspace(-1, 1, 64, dtype=torch.float64).view(1, 8, 8) ** 3  # of each pixel
VARIANCE = torch.linspace(0.05, 0.5, 64, dtype=torch.float64).view(1, 8, 8)

every_walk = pytest.mark.parametrize("walk", SAMPLERS.values(), ids=SAMPLERS.keys())
every_grid = pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS.keys())


def images(walk, grid, sign=1.0):
    """What a sampler makes of Gaussian images, from draws of this sign."""
    draw = draws_of(0, SHAPE)
    mean, variance = true_start(grid, MEAN, VARIANCE)
    start = mean + sign * variance.sqrt() * draw()
    return walk(exact_noise(MEAN, VARIANCE), start, grid, fixed, lambda: sign * draw())


@every_grid
@every_walk
def test_the_mean_image_is_that_of_the_data(walk, grid):
    """The chain of the exact network is affine, so opposite draws end evenly about the mean.

    (Genie's derivative is a difference, hence not exact.)
    """
    one, other = images(walk, grid), images(walk, grid, -1.0)
    assert one.shape == SHAPE and one.isfinite().all()
    torch.testing.assert_close((one + other) / 2, MEAN.expand(SHAPE), rtol=0, atol=5e-3)
    assert (one - other).abs().amin() > 1e-9  # no pixel is left without noise


@every_grid
@every_walk
def test_each_pixel_walks_as_it_would_alone(walk, grid):
    wanted = images(walk, grid)
    for image, row, column in ((0, 0, 0), (2, 3, 5)):
        draw = draws_of(0, SHAPE)
        mu, v = MEAN[0, row, column], VARIANCE[0, row, column]
        mean, variance = true_start(grid, mu, v)

        def next_number(draw=draw, at=(image, 0, row, column)):
            return draw()[at]

        start = mean + variance.sqrt() * next_number()
        alone = walk(exact_noise(mu, v), start, grid, fixed, next_number)
        torch.testing.assert_close(wanted[image, 0, row, column], alone)


def test_a_step_mask_is_drawn_priced_and_moved_by_images():
    """One iteration of EDDPM's search: images at a level of a drawn mask, their error, a step."""
    learner = StepMaskLearner(np.full(20, 0.5), learning_rate=0.2, floor=0.02)
    masks = learner.draw(8, np.random.default_rng(0))
    draw, costs = draws_of(1, SHAPE), []
    for step_mask in masks:
        grid = SCHEDULE.masked(step_mask)
        level, step = float(grid.alpha_bar[-1]), float(grid.network_step[-1])
        noise = draw()
        noisy = math.sqrt(level) * MEAN + math.sqrt(1 - level) * noise  # (3, 1, 8, 8)
        said = exact_noise(MEAN, VARIANCE)(noisy, step, level).noise
        assert said.shape == SHAPE
        costs.append(float((said - noise).square().mean()))
    learner.update(masks, np.array(costs), budget=5)
    assert learner.keep_prob.sum() == pytest.approx(5)
    assert learner.keep_prob.min() >= 0 and learner.keep_prob.max() <= 1
    assert np.ptp(learner.keep_prob) > 0
    kept = SCHEDULE.masked(learner.best_mask(5))
    assert len(kept) == 5
    assert images(SAMPLERS["ddpm"], kept).shape == SHAPE
