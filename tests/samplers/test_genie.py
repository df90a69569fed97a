"""Second-order Taylor steps, and derivatives through a real network."""

from __future__ import annotations

import contextlib
import copy
import math

import numpy as np
import pytest
import torch

from tests.samplers.oracle import (
    EVEN_5,
    GRIDS,
    SCHEDULE,
    count_calls,
    every_grid,
    exact_flow,
    exact_noise,
    exact_variance,
    fine_flow,
    laws,
    order_of_convergence,
    smooth_grid,
    two_modes,
)
from tsimpute.denoiser.blocks import Side
from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.context import NO_CONTEXT
from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.diffusion.schedule import make_schedule
from tsimpute.errors import InputError
from tsimpute.samplers import Prediction
from tsimpute.samplers.genie import (
    genie,
    genie_distilled,
    jacobian_vector_product,
    noise_derivative,
)
from tsimpute.samplers.pndm import transfer
from tsimpute.samplers.protocol import clamped, clean_values
from tsimpute.samplers.variance import fixed

MODES = contextlib.nullcontext, torch.no_grad, torch.enable_grad, torch.inference_mode
every_mode = pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.__name__)


def _with_head(denoise, mu, v):
    """The exact network with a second head that knows deps/dln(gamma) in closed form.

    Along the flow eps = sqrt(1 - A) u / sqrt(A v + 1 - A) with a constant u.
    """

    def predict(x, network_step, alpha_bar):
        noise = denoise(x, network_step, alpha_bar).noise
        # d ln eps / d ln(gamma) = A v / (A v + 1 - A)
        return Prediction(noise, noise * alpha_bar * v / (alpha_bar * v + 1 - alpha_bar))

    return predict


# -------------------------------------------------------------------------------------- derivative


@laws
def test_the_derivative_of_gaussian_noise_is_the_closed_form(mu, v):
    grid = smooth_grid(200)
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)
    for j in (1, 60, 150, 199):
        level = float(grid.alpha_bar[j])
        noise, slope = _with_head(exact_noise(mu, v), mu, v)(x, None, level)
        found = noise_derivative(exact_noise(mu, v), x, grid, j, noise)
        torch.testing.assert_close(found, slope, rtol=2e-3, atol=2e-3)


def test_the_derivative_is_the_difference_along_the_chain():
    denoise, grid = two_modes(1.0, 0.1), smooth_grid(200)
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)
    level, h = float(grid.alpha_bar[70]), 1e-4
    noise = denoise(x, None, level).noise
    gamma = math.sqrt((1 - level) / level)
    ends = []
    for change in (-h, h):
        near = 1 / (1 + (gamma * math.exp(change)) ** 2)
        ends.append(denoise(transfer(x, noise, level, near), None, near).noise)
    expected = (ends[1] - ends[0]) / (2 * h)
    found = noise_derivative(denoise, x, grid, 70, noise)
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize(
    ("grid", "position", "steps"),
    [
        (SCHEDULE.respaced(EVEN_5), 2, {23.0, 24.0, 25.0}),
        (SCHEDULE.full(), 49, {48.0, 49.0}),
        (SCHEDULE.respaced([0, 3]), 1, {2.0, 3.0, 4.0}),
        (GRIDS["masked 5"], 2, {23.0, 24.0, 25.0}),
        (GRIDS["masked 5"], 4, {39.0, 40.0}),  # nothing is known of what lies beyond the top
    ],
)
def test_the_network_is_asked_for_whole_steps_alone(grid, position, steps):
    denoise, asked = count_calls(exact_noise(0, 1))
    x = torch.ones(2, dtype=torch.float64)
    noise_derivative(denoise, x, grid, position, x)
    assert {step for step, _ in asked} == steps
    levels = dict(asked)
    if grid.chain is not None:
        for step, level in levels.items():
            assert level == pytest.approx(SCHEDULE.alpha_bar[int(step)], rel=1e-9)
    ordered = [levels[step] for step in sorted(levels)]
    assert ordered == sorted(ordered, reverse=True)


def test_neighbours_by_log_snr_lie_a_step_away_on_the_chain():
    schedule = make_schedule(conditioning="logsnr")
    grid = schedule.masked(np.isin(np.arange(50), EVEN_5))
    denoise, asked = count_calls(exact_noise(0, 1))
    noise_derivative(denoise, torch.ones(1), grid, 2, torch.ones(1))
    here = float(grid.network_step[2])
    assert sorted(step for step, _ in asked) == pytest.approx([here - 1, here, here + 1])
    for step, level in asked:
        assert schedule.equivalent_step(level) == pytest.approx(step)


# ---------------------------------------------------------------------------- through real networks


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = CSDIDenoiser(DenoiserConfig(3, channels=8, heads=2, layers=2))
        torch.nn.init.normal_(network.output_projection.weight)
    return network.eval()


@pytest.fixture(scope="module")
def double_network(network):
    """The same in float64, but for its codes of time and step, which are float32 by contract."""
    double = copy.deepcopy(network).double()
    double.step_embedding.first.register_forward_pre_hook(lambda _, inputs: inputs[0].double())
    side = network.project_side(torch.arange(6))
    doubled = [Side(part.base.double(), part.mask_weight.double()) for part in side]
    double.project_side = lambda positions, context=NO_CONTEXT: doubled
    return double


def _network_denoiser(network, is_real=None):
    """As in inference: side information projected once, evaluations in parts."""
    generator = torch.Generator().manual_seed(1)
    given = torch.rand(4, 6, 3, generator=generator) < 0.4
    condition = torch.randn(4, 6, 3, generator=generator) * given
    condition = condition.to(network.skip_projection.weight)
    side = network.project_side(torch.arange(6))

    def denoise(x, network_step, alpha_bar):
        out = torch.empty_like(x)
        for rows in (slice(0, 3), slice(3, 4)):
            padding = None if is_real is None else is_real[rows]
            step = torch.full((len(x[rows]),), network_step)
            out[rows] = network(x[rows], condition[rows], given[rows], step, padding, side)
        return Prediction(out)

    return denoise, given


def _states(n):
    return torch.randn(n, 4, 6, 3, generator=torch.Generator().manual_seed(2))


@every_mode
@pytest.mark.parametrize("padded", [False, True])
def test_jacobian_vector_products_through_the_network_are_finite_differences(
    double_network, mode, padded
):
    is_real = torch.arange(6) < torch.tensor([6, 6, 4, 3])[:, None] if padded else None
    with mode():
        x, tangent = _states(2).double()
        denoise, given = _network_denoiser(double_network, is_real)
        found = jacobian_vector_product(denoise, x, tangent, 7.0, 0.5)
        with torch.no_grad():
            ahead, behind = (denoise(x + h * tangent, 7.0, 0.5).noise for h in (1e-6, -1e-6))
        torch.testing.assert_close(found, (ahead - behind) / 2e-6, rtol=1e-6, atol=1e-6)
        assert not found.requires_grad
        assert found.abs().max() > 0.1
        still = jacobian_vector_product(denoise, x, tangent * given, 7.0, 0.5)
    assert float(still.abs().max()) == 0  # the network does not look at what it is given there


@every_mode
def test_the_whole_sampler_runs_on_a_real_network(network, mode):
    with mode():
        denoise, _ = _network_denoiser(network)
        bound = torch.full((3,), 2.0)
        end = genie(clamped(denoise, -bound, bound), _states(1)[0], SCHEDULE.respaced(EVEN_5))
    assert end.shape == (4, 6, 3)
    assert end.abs().max() <= 2 + 1e-4


def test_a_network_that_enters_inference_mode_itself_is_refused():
    @torch.inference_mode()
    def denoise(x, network_step, alpha_bar):
        return Prediction(x * 2)

    with pytest.raises(InputError, match="no_grad"):
        genie(denoise, torch.ones(3), SCHEDULE.respaced(EVEN_5))


def test_a_noise_that_does_not_depend_on_the_state_has_no_derivative_by_it():
    def denoise(x, network_step, alpha_bar):
        return Prediction(torch.ones(3))

    assert torch.equal(
        jacobian_vector_product(denoise, torch.zeros(3), torch.ones(3), 0.0, 0.5), torch.zeros(3)
    )


# ------------------------------------------------------------------------------------------ order


@laws
@pytest.mark.parametrize("bend", [0.0, 0.6])
def test_the_order_on_gaussian_data(mu, v, bend):
    def exact(x, grid):
        return exact_flow(x, grid, mu, v)

    steps = (60, 120)
    plain = exact_noise(mu, v)
    order = order_of_convergence(genie, plain, exact, steps, bend)
    assert order == pytest.approx(2, abs=0.15)
    order = order_of_convergence(genie_distilled, _with_head(plain, mu, v), exact, steps, bend)
    assert order == pytest.approx(2, abs=0.15)


def test_the_order_on_data_with_two_modes():
    denoise = two_modes(1.0, 0.1)
    order = order_of_convergence(
        genie, denoise, lambda x, grid: fine_flow(x, grid, denoise), steps=(40, 80)
    )
    assert order == pytest.approx(2, abs=0.15)


# -------------------------------------------------------------------------------------- mechanics


@every_grid
def test_one_step_is_the_truncated_taylor_series(grid):
    """x_bar + h eps + h^2 / 2 deps/dgamma, with what the head says."""
    if len(grid) == 1:
        return  # a single level has no step
    denoise, records = _with_head(exact_noise(0.7, 0.4), 0.7, 0.4), []
    start = torch.linspace(-1, 1, 5, dtype=torch.float64)
    genie_distilled(denoise, start, grid, fixed, callback=records.append)
    level, cleaner = (float(a) for a in grid.alpha_bar[[-1, -2]])
    gamma, target = (math.sqrt((1 - a) / a) for a in (level, cleaner))
    noise, slope = denoise(start, None, level)
    h = target - gamma
    scaled = start / math.sqrt(level) + h * noise + h**2 / 2 * slope / gamma
    torch.testing.assert_close(records[0].x, math.sqrt(cleaner) * scaled)


@every_grid
def test_evaluations(grid):
    denoise, asked = count_calls(_with_head(exact_noise(0, 1), 0, 1))
    genie_distilled(denoise, torch.ones(2), grid)
    assert [step for step, _ in asked] == grid.network_step[::-1].tolist()
    asked.clear()
    genie(denoise, torch.ones(2), grid)
    n_steps = len(grid) - 1
    assert len(grid) + 2 * n_steps <= len(asked) <= len(grid) + 3 * n_steps


@every_grid
@pytest.mark.parametrize("sampler", [genie, genie_distilled])
def test_the_callback_hears_of_every_level_and_the_last_step_alone_is_noisy(sampler, grid):
    denoise, records = _with_head(exact_noise(0.5, 0.8), 0.5, 0.8), []
    start, ones = torch.linspace(-1, 1, 5, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    end = sampler(denoise, start, grid, exact_variance(0.8), lambda: ones, records.append)
    assert [record.position for record in records] == list(reversed(range(len(grid))))
    assert [record.spread for record in records[:-1]] == [0.0] * (len(grid) - 1)
    assert records[-1].spread == exact_variance(0.8)(grid, 0, None)
    torch.testing.assert_close(end, records[-1].x0 + math.sqrt(records[-1].spread) * ones)
    for record, state in zip(records, [start, *(r.x for r in records)], strict=False):
        level = float(grid.alpha_bar[record.position])
        torch.testing.assert_close(
            record.x0, clean_values(state, denoise(state, None, level).noise, level)
        )


def test_distilled_without_a_head_says_what_is_missing():
    with pytest.raises(InputError, match="second head"):
        genie_distilled(exact_noise(0, 1), torch.ones(2), SCHEDULE.respaced(EVEN_5))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_answer_has_the_dtype_of_the_start(dtype):
    start = torch.ones(2, 3, 4, dtype=dtype)
    end = genie(exact_noise(0, 1), start, SCHEDULE.respaced(EVEN_5))
    assert (end.shape, end.dtype) == (start.shape, dtype)
    assert torch.equal(start, torch.ones(2, 3, 4, dtype=dtype))
