"""Choice of the kept steps without training: by rule, or by price from a table of errors.

Every function returns original 0-based steps in ascending order, for `NoiseSchedule.respaced`.
On a respaced chain the price of a jump depends on its two ends only, so that the cheapest chain
of K steps is a shortest path with K nodes: dynamic programming finds it exactly (Watson et al.
2021b), in O(K T^2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tsimpute.diffusion.elbo import decoder_term, prior_term, transition_term
from tsimpute.diffusion.schedule import spaced_indices
from tsimpute.errors import InputError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_TOP_SHARE = 0.8


def uniform_steps(n_steps: int, n_kept: int, top: int | None = None) -> IntArray:
    """Evenly spaced steps that end at `top`.

    Parameters
    ----------
    n_steps : int
        T of the full chain.
    n_kept : int
        How many steps to keep, 1 to T.
    top : int, optional
        The noisiest kept step, n_kept - 1 to T - 1; default: 0.8 T, because the last steps of a
        chain carry almost no signal and amplify the network's errors.

    Returns
    -------
    ndarray of int64, shape (n_kept,)

    Raises
    ------
    InputError
        If there are fewer than `n_kept` steps up to `top`, or no step `top`.
    """
    return spaced_indices(n_steps, n_kept, _checked_top(n_steps, n_kept, top))


def quadratic_steps(n_steps: int, n_kept: int, top: int | None = None) -> IntArray:
    """Steps c i^2, i = 1..K, that end at `top`: denser at the clean end.

    The quadratic spacing of DDIM (Song et al. 2021, Appendix D.2). Where the parabola is flatter
    than one step, the steps follow each other. Parameters, result and errors are those of
    `uniform_steps`.
    """
    highest = _checked_top(n_steps, n_kept, top)
    order = np.arange(n_kept)
    places = np.round(highest * ((order + 1) / n_kept) ** 2).astype(np.int64)
    steps: IntArray = np.maximum.accumulate(places - order) + order
    return steps


def least_elbo_steps(
    alpha_bar: ArrayLike,
    clean_error: ArrayLike,
    n_kept: int,
    second_moment: float = 1.0,
    resolution: float = 0.1,
    ends: tuple[int | None, int | None] = (None, None),
) -> IntArray:
    """Steps of the respaced chain with the least negative ELBO, `elbo.negative_elbo`.

    Exact, by the dynamic programming of Watson et al. 2021b: C[k, t] = min_s C[k-1, s] + L[s, t].
    L is the expected KL of one jump with its best variance; the prior and the decoder term choose
    the ends where they are free.

    Parameters
    ----------
    alpha_bar : array_like of float, shape (T,)
        Of the full chain.
    clean_error : array_like of float, shape (T,)
        Mean squared error of the clean values that the network sees at each step, above 0, in
        standardised units.
    n_kept : int
        How many steps to keep, 1 to T.
    second_moment : float, default=1.0
        E x_0^2 over target cells.
    resolution : float, default=0.1
        Smallest detail that counts, in standard deviations of the feature.
    ends : tuple of int or None, default=(None, None)
        Cleanest and noisiest kept step; None: whichever is cheapest.

    Returns
    -------
    ndarray of int64, shape (n_kept,)

    Raises
    ------
    InputError
        If the tables do not fit or hold impossible values, or no `n_kept` steps lie between the
        ends.
    """
    levels, errors = _checked_tables(alpha_bar, clean_error, "clean_error")
    _check_ends(len(levels), n_kept, ends)
    return _cheapest_chain(
        _forward_only(transition_term(errors, levels, np.maximum(levels[:, None], levels))),
        _pinned(decoder_term(errors, resolution), ends[0]),
        _pinned(prior_term(levels, second_moment), ends[1]),
        n_kept,
    )


def analytic_dpm_steps(
    alpha_bar: ArrayLike,
    noise_power: ArrayLike,
    n_kept: int,
    ends: tuple[int, int] | None = None,
) -> IntArray:
    """Steps between two fixed ends with the least KL under Analytic-DPM's variances.

    With the optimal variance sigma*^2 = b / a (1 - b Gamma / (1 - A)) of a jump from level A to
    S, a = A / S, b = 1 - a, the KL of the chain is ½ sum ln(1 - b Gamma / (1 - A)) plus entropies
    and ln a, of which only the ends remain in the sum (Bao et al. 2022a, Section 4). It is the
    sum of `elbo.transition_term` with the error (1 - A)/A (1 - Gamma), up to ends.

    Parameters
    ----------
    alpha_bar : array_like of float, shape (T,)
        Of the full chain.
    noise_power : array_like of float, shape (T,)
        Gamma, the mean squared predicted noise over target cells at each step. Above 1, which no
        ideal network exceeds, it counts as 1.
    n_kept : int
        How many steps to keep, 2 to T; also 1 where the two ends are the same step.
    ends : tuple of int, optional
        Cleanest and noisiest kept step; default: 0 and T - 1, as in the paper.

    Returns
    -------
    ndarray of int64, shape (n_kept,)

    Raises
    ------
    InputError
        If the tables do not fit or hold impossible values, or no `n_kept` steps lie between the
        ends.
    """
    levels, power = _checked_tables(alpha_bar, noise_power, "noise_power")
    first, top = (0, len(levels) - 1) if ends is None else ends
    _check_ends(len(levels), n_kept, (first, top))
    added = np.maximum(0.0, 1 - levels / levels[:, None])
    cost = 0.5 * np.log1p(-added * np.minimum(power, 1.0) / (1 - levels))
    free = np.zeros(len(levels))
    return _cheapest_chain(_forward_only(cost), _pinned(free, first), _pinned(free, top), n_kept)


def align_steps(
    alpha_bar: ArrayLike,
    clean_error: ArrayLike,
    n_kept: int,
    start: ArrayLike | None = None,
) -> IntArray:
    """Align-your-steps: move one interior step at a time down the KL upper bound.

    The bound compares the path of the full chain with one on which the network's answer is held
    from one kept step to the next (Sabour et al. 2024, Section 3). In snr = A / (1 - A) and on
    the discrete chain it is ½ sum (snr(S) - snr(A)) e_A up to ends, e being the error of the held
    answer: the negative ELBO with the fixed variance beta-tilde. Each interior step goes in turn
    to the best place between its neighbours, until none moves: a local minimum, as in the paper.

    Parameters
    ----------
    alpha_bar : array_like of float, shape (T,)
        Of the full chain.
    clean_error : array_like of float, shape (T,)
        Mean squared error of the clean values that the network sees at each step, above 0.
    n_kept : int
        How many steps to keep, 1 to T.
    start : array_like of int, shape (n_kept,), optional
        Ascending steps to begin with, the first and last of which stay; default:
        `quadratic_steps`.

    Returns
    -------
    ndarray of int64, shape (n_kept,)

    Raises
    ------
    InputError
        If the tables do not fit or hold impossible values, or `start` is no chain of `n_kept`
        steps.
    """
    levels, errors = _checked_tables(alpha_bar, clean_error, "clean_error")
    steps = _checked_start(len(levels), n_kept, start)
    snr = levels / (1 - levels)
    cost = 0.5 * errors * (snr[:, None] - snr)
    while _improve_once(steps, cost):
        pass
    return steps


def _improve_once(steps: IntArray, cost: FloatArray) -> bool:
    """Move each interior step in place to its best one; tell whether any moved."""
    moved = False
    for i in range(1, len(steps) - 1):
        left, right = steps[i - 1], steps[i + 1]
        through = cost[left, left + 1 : right] + cost[left + 1 : right, right]
        best = left + 1 + int(np.argmin(through))
        least = through[steps[i] - left - 1] * (1 - 1e-12)  # ties must not go round in circles
        if through[best - left - 1] < least:
            steps[i], moved = best, True
    return moved


def _cheapest_chain(jump: FloatArray, first: FloatArray, last: FloatArray, n_kept: int) -> IntArray:
    """Path t_1 < … < t_K with the least first[t_1] + sum jump[t_i, t_i+1] + last[t_K]."""
    cost, came_from = first, []
    for _ in range(n_kept - 1):
        through = cost[:, None] + jump
        came_from.append(np.argmin(through, axis=0))
        cost = through.min(axis=0)
    path = [int(np.argmin(cost + last))]
    for previous in reversed(came_from):
        path.append(int(previous[path[-1]]))
    return np.array(path[::-1], dtype=np.int64)


def _forward_only(jump: FloatArray) -> FloatArray:
    """The jumps (cleaner, noisier), the others at an infinite price."""
    allowed = np.triu(np.ones(jump.shape, dtype=bool), k=1)
    return np.where(allowed, jump, np.inf)


def _pinned(cost: FloatArray, step: int | None) -> FloatArray:
    """The costs, infinite at every step but the pinned one."""
    if step is None:
        return cost
    return np.where(np.arange(len(cost)) == step, cost, np.inf)


def _checked_top(n_steps: int, n_kept: int, top: int | None) -> int:
    if not 1 <= n_kept <= n_steps:
        raise InputError(f"n_kept={n_kept} cannot be used; expected 1 to {n_steps} steps")
    if top is None:
        return min(max(round(_TOP_SHARE * n_steps), n_kept - 1), n_steps - 1)
    if not n_kept - 1 <= top < n_steps:
        raise InputError(
            f"top={top} cannot be used; expected {n_kept - 1} to {n_steps - 1}, so that {n_kept} "
            f"of {n_steps} steps fit below; choose another top or a smaller n_kept"
        )
    return top


def _checked_tables(
    alpha_bar: ArrayLike, table: ArrayLike, name: str
) -> tuple[FloatArray, FloatArray]:
    levels = np.asarray(alpha_bar, dtype=np.float64)
    values = np.asarray(table, dtype=np.float64)
    falling = levels.ndim == 1 and np.all(np.diff(levels, prepend=1.0, append=0.0) < 0)
    if not falling or not levels.size:
        raise InputError(f"alpha_bar must fall strictly within (0, 1); got {levels}")
    if values.shape != levels.shape:
        raise InputError(
            f"{name}: got shape {values.shape}, expected {levels.shape}, one number a step"
        )
    if not np.all((values > 0) & np.isfinite(values)):
        step = np.flatnonzero(~((values > 0) & np.isfinite(values)))[0]
        raise InputError(
            f"{name}: got {values[step]} at step {step}, expected a number above 0; measure it at "
            "every step of the full chain"
        )
    return levels, values


def _check_ends(n_steps: int, n_kept: int, ends: tuple[int | None, int | None]) -> None:
    first = 0 if ends[0] is None else ends[0]
    top = n_steps - 1 if ends[1] is None else ends[1]
    if not 0 <= first <= top < n_steps:
        raise InputError(f"ends={ends} cannot be used; expected 0 <= first <= top < {n_steps}")
    least = 2 if None not in ends and first < top else 1
    if not least <= n_kept <= top - first + 1:
        raise InputError(
            f"n_kept={n_kept} cannot be used with ends={ends}; expected {least} to "
            f"{top - first + 1} steps"
        )


def _checked_start(n_steps: int, n_kept: int, start: ArrayLike | None) -> IntArray:
    if start is None:
        return quadratic_steps(n_steps, n_kept)
    steps = np.array(start, dtype=np.int64)
    inside = steps.shape == (n_kept,) and n_kept > 0 and steps[0] >= 0 and steps[-1] < n_steps
    if not inside or np.any(np.diff(steps) <= 0):
        raise InputError(
            f"start: got {start}, expected {n_kept} ascending steps in 0..{n_steps - 1}"
        )
    return steps
