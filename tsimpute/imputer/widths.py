"""How wide the network of a fitted imputer is at each step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sklearn.utils.validation import check_is_fitted

from tsimpute.imputer.base import FittedImputer

if TYPE_CHECKING:
    import pandas as pd


class SlimsSteps(FittedImputer):
    """Part of `EDDPMImputer`: a network only as wide as each step needs."""

    width_search_: pd.DataFrame

    def train_widths(
        self,
        X: Any,
        *,
        epochs: int | None = None,
        time_budget_s: float | None = None,
        learning_rate: float | None = None,
        checkpoint: str | Path | None = None,
    ) -> Self:
        """Train the fitted network on, at its kept steps, so that it works at narrower widths.

        Each iteration runs the whole network, the narrowest, a quarter of its channels, and two
        random widths between them (the sandwich rule of slimmable networks, as in DDSM, Yang et
        al. 2024). Attention is cut between heads: with 8 of them every eighth is a width, with 4
        every quarter. All steps then have the whole width, until `search_widths` or `use_widths`.

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

        Returns
        -------
        EDDPMImputer
            Itself.

        Raises
        ------
        NotFittedError, InputError
            Before `fit`; if the data do not fit the model, or its number of heads is odd.
        """
        from tsimpute.fitting import RANDOM_WIDTHS
        from tsimpute.width_training import WidthTraining, train_widths

        panel = self._read(X)
        how = WidthTraining(epochs, time_budget_s, RANDOM_WIDTHS, learning_rate, checkpoint)
        model, trainer = train_widths(self, self.model_, panel, self.seed_, how)
        self._adopt_trained(model, self.seed_, trainer)
        return self._finish_fit(panel)

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
        checkpoint: str | Path | None = None,
    ) -> Self:
        """Find a width of the network for each kept step, and use it (DDSM, Yang et al. 2024).

        NSGA-II lets strategies evolve under two objectives, the CRPS on observed cells that are
        hidden for it and the floating-point operations; the first generation has the uniform
        strategies. All are scored on the same cells with the same noise. Those with the best
        weighted sum are scored again, on other and on more cells. Needs the extra ``search``.

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
            Windows and samples behind a strategy's score.
        final_windows, final_samples : int, default=32, 16
            The same for the best five.
        checkpoint : str or Path, optional
            File of the scores so far: a search that was stopped goes on from it, and one with
            another `flops_weight` need not begin anew.

        Returns
        -------
        EDDPMImputer
            Itself, without the steps that were left out; `step_schedule_` shows the widths, and
            ``width_search_`` all strategies that were tried.

        Raises
        ------
        NotFittedError, InputError
            Before `fit`; if the network was not trained for widths, the data do not fit the
            model, or a number cannot be used.
        MissingExtraError
            If pymoo is not installed.
        """
        from tsimpute.training.evolution import Evolution
        from tsimpute.width_search import WidthSearch, searched

        panel = self._read(X)
        search = WidthSearch(
            flops_weight=flops_weight,
            evolution=Evolution(population, generations, mutation, self.seed_),
            skip=skip,
            hidden_fraction=hidden_fraction,
            max_windows=max_windows,
            n_samples=n_samples,
            final_windows=final_windows,
            final_samples=final_samples,
            checkpoint=checkpoint,
        )
        self.model_, self.width_search_ = searched(self, panel, search)
        return self._finish_fit(panel)

    def use_widths(self, widths: Sequence[int], X: Any = None) -> Self:
        """Set the width of the network at each kept step by hand.

        Parameters
        ----------
        widths : sequence of int
            One for each kept step, the cleanest first, in eighths of the channels: 2 to 8, or 0
            to leave the step out.
        X : DataFrame, array, DataArray or Dataset, optional
            Training data, from which a learned variance is learned again at these widths;
            without them it is lost, and `fit_variance` has to be called before it can be used.

        Returns
        -------
        EDDPMImputer
            Itself.

        Raises
        ------
        NotFittedError, InputError
            Before `fit`; if the network was not trained for widths, there is not one for each
            step, or one would cut an attention head.
        """
        from tsimpute.width_training import without_readings
        from tsimpute.widths import with_strategy

        check_is_fitted(self)
        panel = None if X is None else self._read(X)
        self.model_ = without_readings(with_strategy(self.model_, widths))
        return self if panel is None else self._finish_fit(panel)
