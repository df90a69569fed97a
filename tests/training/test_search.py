"""The two rules by which steps are kept, apart from any network."""

from __future__ import annotations

import numpy as np
import pytest

from tsimpute.diffusion.schedule import make_schedule
from tsimpute.training import search as rules
from tsimpute.training.search import GuardedSearch, PaperSearch, make_search

T = 12
SCHEDULE = make_schedule(n_steps=T)


def _level_rule(rule, index):
    """Levels that a chain over these steps must have by the rule."""
    if rule == "paper":
        return np.cumprod(1 - SCHEDULE.beta[index])
    return SCHEDULE.alpha_bar[index]


both = pytest.mark.parametrize("rule", ["paper", "guarded"])


@both
def test_starts_with_every_step_kept(rule):
    search = make_search(rule, SCHEDULE)
    assert search.n_steps == T
    assert search.learner.keep_prob.tolist() == [1.0] * T
    assert isinstance(search, PaperSearch if rule == "paper" else GuardedSearch)


@pytest.mark.parametrize(
    ("rule", "rate", "floor"),
    [
        ("paper", rules.PAPER_LEARNING_RATE, 0.0),
        ("guarded", rules.GUARDED_LEARNING_RATE, rules.GUARDED_FLOOR),
    ],
)
def test_each_rule_has_its_own_step_size(rule, rate, floor):
    assert make_search(rule, SCHEDULE).learner.learning_rate == rate
    assert make_search(rule, SCHEDULE).learner.floor == floor
    assert make_search(rule, SCHEDULE, 0.7).learner.learning_rate == 0.7


@both
def test_without_a_mask_the_grid_is_the_full_chain(rng, rule):
    search = make_search(rule, SCHEDULE)
    search.learner.keep_prob[:] = 0.1
    grid = search.draw_grid(False, rng)
    assert np.array_equal(grid.index, np.arange(T))
    assert np.array_equal(grid.alpha_bar, SCHEDULE.alpha_bar)


@both
def test_a_drawn_grid_has_the_levels_of_its_rule(rng, rule):
    search = make_search(rule, SCHEDULE)
    search.learner.keep_prob[:] = 0.4
    sizes = set()
    for _ in range(50):
        grid = search.draw_grid(True, rng)
        np.testing.assert_allclose(grid.alpha_bar, _level_rule(rule, grid.index), rtol=1e-12)
        sizes.add(len(grid))
    assert len(sizes) > 3


@both
def test_the_best_grid_has_the_levels_of_its_rule(rule):
    search = make_search(rule, SCHEDULE)
    search.learner.keep_prob = np.linspace(0.1, 0.9, T)[[3, 11, 0, 7, 1, 9, 2, 8, 10, 4, 5, 6]]
    for kept_steps in (1, 3, T):
        grid = search.best_grid(kept_steps)
        assert len(grid) == kept_steps
        np.testing.assert_allclose(grid.alpha_bar, _level_rule(rule, grid.index), rtol=1e-12)
        if rule == "paper":  # the guarded rule may exchange some
            likeliest = np.argsort(-search.learner.keep_prob)[:kept_steps]
            assert set(grid.index) == set(likeliest)


def test_the_paper_rule_moves_by_the_loss_of_the_batch(rng):
    search = make_search("paper", SCHEDULE, learning_rate=0.01)
    search.learner.keep_prob[:] = 0.5
    grid = search.draw_grid(True, rng)
    search.observe(np.array([3.0, 1.0]), np.array([5, 3]))
    search.update(budget=float(T), rng=rng)
    kept = np.isin(np.arange(T), grid.index)
    loss = 4.0 / 8
    expected = 0.5 - 0.01 * loss * np.where(kept, 2.0, -2.0)
    np.testing.assert_allclose(search.learner.keep_prob, expected)


def test_the_paper_rule_does_not_move_without_a_mask(rng):
    search = make_search("paper", SCHEDULE)
    search.draw_grid(False, rng)
    search.observe(np.array([3.0]), np.array([5]))
    search.update(budget=2.0, rng=rng)
    assert search.learner.keep_prob.tolist() == [1.0] * T


def test_a_batch_without_target_cells_costs_nothing(rng):
    search = make_search("paper", SCHEDULE)
    before = search.learner.keep_prob.copy()
    search.draw_grid(True, rng)
    search.observe(np.array([0.0]), np.array([0]))
    search.update(budget=float(T), rng=rng)
    np.testing.assert_array_equal(search.learner.keep_prob, before)


def test_the_guarded_rule_prices_from_what_was_measured_last():
    search = make_search("guarded", SCHEDULE)
    assert search.measures_levels and not make_search("paper", SCHEDULE).measures_levels
    search.observe(np.array([3.0]), np.array([5]))  # errors of training batches do not count
    assert search.errors.n_seen.max() == 1
    search.measured(np.array([3, 8]), np.array([9.0, 9.0]), np.array([2, 5]))
    search.measured(np.array([3, 8]), np.array([1.0, 4.0]), np.array([2, 5]))
    changed = np.flatnonzero(search.errors.n_seen > 1)
    assert changed.tolist() == [3, 8]
    assert search.errors.noise_error[3] == pytest.approx((SCHEDULE.alpha_bar[3] + 0.5) / 2)


@pytest.mark.parametrize("budget", [1.0, 3.5, 12.0])
def test_the_guarded_rule_stays_within_the_budget(rng, budget):
    search = make_search("guarded", SCHEDULE)
    for _ in range(5):
        search.update(budget, rng)
        keep_prob = search.learner.keep_prob
        assert keep_prob.sum() <= budget + 1e-9
        assert np.all((keep_prob >= 0) & (keep_prob <= 1))


def test_the_guarded_rule_moves_several_times_an_update():
    """Eight policy gradients over masks of their own, each from where the last one led."""
    search, twin = (make_search("guarded", SCHEDULE) for _ in range(2))
    for part in (search, twin):
        part.learner.keep_prob[:] = np.linspace(0.2, 0.9, T)
    search.update(5.0, np.random.default_rng(3))
    rng = np.random.default_rng(3)
    assert rules.GUARDED_UPDATES == 8
    for _ in range(8):
        masks = twin.learner.draw(rules.GUARDED_MASKS, rng)
        twin.learner.update(masks, twin.errors.price(masks), 5.0)
    np.testing.assert_array_equal(search.learner.keep_prob, twin.learner.keep_prob)


def test_the_guarded_rule_finds_a_chain_about_as_cheap_as_the_best():
    rng = np.random.default_rng(0)
    search = make_search("guarded", SCHEDULE)
    level = SCHEDULE.alpha_bar
    search.errors.noise_error = 0.6 * level + 0.2 * level**4  # of a network that knows something
    search.errors.n_seen[:] = 64
    for budget in np.linspace(T, 3, 40):
        search.update(budget, rng)
    kept = np.isin(np.arange(T), search.best_grid(3).index)
    every = ((np.arange(1, 2**T)[:, None] >> np.arange(T)) & 1).astype(bool)
    cheapest = search.errors.price(every[every.sum(axis=1) == 3]).min()
    assert search.errors.price(kept[None])[0] <= cheapest + 0.02
