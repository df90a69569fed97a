"""How wide the network of a fitted imputer is at each step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sklearn.utils.validation import check_is_fitted

from tsimpute.errors import InputError
from tsimpute.imputer.base import FittedImputer

if TYPE_CHECKING:
    from tsimpute.fitting.training_data import TrainingData
    from tsimpute.model import FittedModel
    from tsimpute.panel.core import Panel


class SlimsSteps(FittedImputer):
    """Part of `EDDPMImputer`: a network only as wide as each step needs."""

    def train_widths(
        self,
        X: Any,
        *,
        epochs: int | None = None,
        time_budget_s: float | None = None,
        learning_rate: float | None = None,
        checkpoint: str | Path | None = None,
        patterns: Any = None,
    ) -> Self:
        """Train the fitted network on, at its kept steps, so that it works at narrower widths.

        Each iteration runs the whole network, the narrowest, a quarter of its channels, and two
        random widths between them (the sandwich rule of slimmable networks, as in DDSM, Yang et
        al. 2024). Attention is cut between heads: with 8 of them every eighth is a width, with 4
        every quarter. All steps then have the whole width, until `search_widths` or `use_widths`;
        those that a strategy had left out are there again.

        Parameters
        ----------
        X : DataFrame, array, DataArray or Dataset
            Training data with the columns of the fitted model.
        epochs : int, optional
            Passes over the training windows.
        time_budget_s : float, optional
            Seconds; whichever of the two ends first counts. Without both, as long as `fit`.
        learning_rate : float, optional
            Default: the imputer's own.
        checkpoint : str or Path, optional
            As in `fit`.
        patterns : DataFrame, array, DataArray or Dataset, optional
            As in `fit`; they are not kept from there.

        Returns
        -------
        EDDPMImputer
            Itself; with ``calibrate=True`` calibrated anew, as by `fit`.

        Raises
        ------
        NotFittedError, InputError
            Before `fit`; if the data do not fit the model, a number cannot be used, or the
            model's number of heads is odd.
        """
        from tsimpute.fitting.fit import RANDOM_WIDTHS
        from tsimpute.widths.strategy import with_all_steps
        from tsimpute.widths.training import WidthTraining, train_widths

        how = WidthTraining(epochs, time_budget_s, RANDOM_WIDTHS, learning_rate, checkpoint)
        data = self._read_training(X, patterns)
        old, held_out = self.model_, self._to_calibrate_on(data.panel)
        model, trainer = train_widths(self, with_all_steps(old), data, how)
        self._adopt_trained(model, self.seed_, trainer)
        return self._learn_again(data, held_out, old)

    def search_widths(
        self,
        X: Any,
        *,
        flops_weight: float = 0.1,
        population: int = 50,
        generations: int = 10,
        mutation: float | None = None,
        skip: bool = True,
        hidden_fraction: float = 0.1,
        max_windows: int = 8,
        n_samples: int = 4,
        final_windows: int = 32,
        final_samples: int = 16,
        finalists: int = 5,
        random_state: Any = None,
        checkpoint: str | Path | None = None,
        patterns: Any = None,
    ) -> Self:
        """Find a width of the network for each kept step, and use it (DDSM, Yang et al. 2024).

        NSGA-II lets strategies evolve under two objectives, the CRPS on observed cells that are
        hidden for it and the floating-point operations; the first generation has the uniform
        strategies and, with `skip`, the whole width at evenly spaced steps. All are scored on the
        same cells with the same noise. Those with the best weighted sum are scored again, on other
        and on more cells. Needs the extra ``search``.

        A further search, or `use_widths`, begins with all kept steps again, also those that this
        one leaves out.

        Parameters
        ----------
        X : DataFrame, array, DataArray or Dataset
            What strategies are scored on; best not the training data. The variance is learned
            again from them too.
        flops_weight : float, default=0.1
            What is minimised is CRPS / CRPS of the whole network + flops_weight * share of its
            operations: with 0.1, saving half of them is worth a CRPS that is 5 % higher.
        population, generations : int, default=50, 10
            Strategies of a generation, and generations, as in the paper.
        mutation : float, optional
            Probability that a step's width is changed; default: one step a strategy.
        skip : bool, default=True
            Whether a step may be left out altogether.
        hidden_fraction : float, default=0.1
            Share of the observed cells that is hidden.
        max_windows, n_samples : int, default=8, 4
            Windows and samples behind a strategy's score; the search takes as long as there are
            strategies, windows and samples.
        final_windows, final_samples : int, default=32, 16
            The same for the finalists.
        finalists : int, default=5
            Strategies that are scored again, besides the whole network at all steps.
        random_state : int, RandomState or None, optional
            Of hidden cells and strategies. None: the seed of the fit, the same ones each time.
        checkpoint : str or Path, optional
            File of the scores so far: a search that was stopped goes on from it, and one with
            another `flops_weight` takes the scores from there.
        patterns : DataFrame, array, DataArray or Dataset, optional
            As in `fit`, for the variance; they are not kept from there.

        Returns
        -------
        EDDPMImputer
            Itself, without the steps that are left out; `step_schedule_` shows the widths, and
            ``width_search_`` all strategies that were tried. With ``calibrate=True`` it is
            calibrated anew, on rows of X chosen as by `fit`. Ctrl-C ends the search and goes on
            with the best strategies so far.

        Raises
        ------
        NotFittedError, InputError
            Before `fit`; if the network was not trained for widths, the data do not fit the
            model, or a number cannot be used.
        MissingExtraError
            If pymoo is not installed.
        """
        from tsimpute.training.evolution import Evolution
        from tsimpute.widths.search import WidthSearch, searched

        check_is_fitted(self)
        seed = self._seed(random_state)
        search = WidthSearch(
            flops_weight=flops_weight,
            seed=seed,
            evolution=Evolution(population, generations, mutation, seed),
            skip=skip,
            hidden_fraction=hidden_fraction,
            max_windows=max_windows,
            n_samples=n_samples,
            final_windows=final_windows,
            final_samples=final_samples,
            finalists=finalists,
            checkpoint=checkpoint,
        )
        data = self._read_training(X, patterns)
        old, held_out = self.model_, self._to_calibrate_on(data.panel)
        self.model_, self.width_search_ = searched(self, data, search)
        return self._learn_again(data, held_out, old)

    def use_widths(self, widths: Sequence[int], X: Any = None, *, patterns: Any = None) -> Self:
        """Set the width of the network at each kept step by hand.

        Parameters
        ----------
        widths : sequence of int
            One for each kept step, the cleanest first, in eighths of the channels: 2 to 8, or 0
            to leave the step out. A step that was left out before counts too.
        X : DataFrame, array, DataArray or Dataset, optional
            Training data, from which a learned variance is learned again at these widths, and the
            calibration if ``calibrate=True``. Without them both are lost: `fit_variance` has to
            be called before such a variance can be used, and `fit_calibration` for calibrated
            quantiles.
        patterns : DataFrame, array, DataArray or Dataset, optional
            As in `fit`; they are not kept from there.

        Returns
        -------
        EDDPMImputer
            Itself.

        Raises
        ------
        NotFittedError, InputError
            Before `fit`; if the network was not trained for widths, there is not one for each
            step, or one would cut an attention head; if there are patterns without X.
        """
        from tsimpute.widths.strategy import with_strategy
        from tsimpute.widths.training import without_readings

        check_is_fitted(self)
        if X is None and patterns is not None:
            raise InputError("patterns: got data to hide cells of X, but no X; pass both")
        data = None if X is None else self._read_training(X, patterns)
        model, old = without_readings(with_strategy(self.model_, widths)), self.model_
        held_out = None if data is None else self._to_calibrate_on(data.panel)
        self.model_ = model
        try:
            return self._learn_again(data, held_out, old)
        except InputError:
            self.model_ = old
            raise

    def _to_calibrate_on(self, panel: Panel) -> Panel | None:
        """Held-out rows, unless quantiles wait for a sampler that has to be fitted first."""
        from tsimpute.sampling.methods import OWN_READING

        if self.sampler in OWN_READING:
            return None
        return self._held_out(panel, self.model_.window_steps, self.seed_)

    def _learn_again(
        self, data: TrainingData | None, held_out: Panel | None, old: FittedModel
    ) -> Self:
        """Variance and calibration at the new widths; a warning where a calibration is lost."""
        self._warn_if_calibration_is_lost(old, held_out, stacklevel=4)
        return self if data is None else self._finish_fit(data, held_out)
