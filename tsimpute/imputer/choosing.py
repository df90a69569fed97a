"""What a fitted imputer can learn besides, and how its way of sampling is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from sklearn.utils.validation import check_is_fitted

from tsimpute.arguments import check_count, check_switch
from tsimpute.errors import InputError
from tsimpute.imputer.base import VARIANCE_BATCHES, FittedImputer

if TYPE_CHECKING:
    import pandas as pd

SAMPLER_ITERATIONS = 200
MARGINAL_ITERATIONS = 500


class ChoosesSampling(FittedImputer):
    """Part of `EDDPMImputer`: variance, samplers, marginals, steps."""

    def fit_variance(
        self,
        X: Any,
        kind: str = "crps",
        *,
        n_batches: int = VARIANCE_BATCHES,
        patterns: Any = None,
    ) -> Self:
        """Learn the variance of the clean values at the kept steps; the network is not changed.

        Parameters
        ----------
        X : DataFrame, array, DataArray or Dataset
            Training data with the columns of the fitted model.
        kind : {"crps", "npr", "sn", "analytic"}, default="crps"
            A head for the squared residual of the noise, by the CRPS or by the likelihood
            ("npr", Bao et al. 2022b); one for the squared noise ("sn", of the same paper); or
            one number a step (Analytic-DPM, Bao et al. 2022a).
        n_batches : int, default=100
            Batches of windows that the network is run on.
        patterns : DataFrame, array, DataArray or Dataset, optional
            As in `fit`; they are not kept from there.

        Returns
        -------
        EDDPMImputer
            Itself; ``variance=kind`` can now be used.

        Raises
        ------
        NotFittedError, InputError
            Before `fit`; if the data do not fit the model, the kind is unknown, or no cell was
            hidden.
        """
        from tsimpute.fitting.heads import with_variance

        check_count("n_batches", n_batches)
        data = self._read_training(X, patterns)
        self.model_ = with_variance(self, self.model_, data, kind, n_batches)
        return self

    def fit_sampler(
        self,
        X: Any,
        kind: str = "ggdm",
        *,
        iterations: int = SAMPLER_ITERATIONS,
        patterns: Any = None,
    ) -> Self:
        """Learn what a fitted sampler needs for the present steps; the network is not changed.

        Parameters
        ----------
        X : DataFrame, array, DataArray or Dataset
            The data of `fit`. "ggdm" learns from the rows that training held out for validation
            (from all, where these are fewer than 8 windows), the others from those it trained on.
        kind : {"ggdm", "tdas", "genie-distilled"}, default="ggdm"
            All coefficients of the sampler, by back-propagating the energy score of samples
            (Watson et al. 2021); the data's temporal spectrum (Ma et al. 2022); or a head that
            says what "genie" takes a Jacobian-vector product for (Dockhorn et al. 2022).
        iterations : int, default=200
            Of "ggdm", each with 8 windows of 4 samples; of "genie-distilled", each a batch.
            Ctrl-C ends "ggdm" early and leaves what it learned until then.
        patterns : DataFrame, array, DataArray or Dataset, optional
            As in `fit`; they are not kept from there.

        Returns
        -------
        EDDPMImputer
            Itself; ``sampler=kind`` can now be used. `prune` and other steps lose "ggdm" and
            "genie-distilled"; "tdas" stays.

        Raises
        ------
        NotFittedError, InputError
            Before `fit`; if the data do not fit the model, the kind is unknown, or no cell was
            hidden.
        """
        from tsimpute.fitting.heads import with_sampler

        check_count("iterations", iterations)
        data = self._read_training(X, patterns)
        self.model_ = with_sampler(self, self.model_, data, kind, iterations)
        return self

    def fit_marginals(
        self,
        X: Any,
        *,
        iterations: int = MARGINAL_ITERATIONS,
        freeze_trunk: bool = False,
        patterns: Any = None,
    ) -> Self:
        """Train a marginal head: every hole's distribution in one evaluation.

        A copy of the network is trained on by the quantile loss; the network that samples is
        not changed. Afterwards ``method="head"``, ``start="marginals"`` and
        ``sample(marginals="head")`` can be used.

        Parameters
        ----------
        X : DataFrame, array, DataArray or Dataset
            Training data with the columns of the fitted model.
        iterations : int, default=500
            Batches of training. On Healthcare twice as many gave a CRPS that is 4 % lower, on
            Air-quality four times as many one that is 7 % lower.
        freeze_trunk : bool, default=False
            Train the last two layers alone.
        patterns : DataFrame, array, DataArray or Dataset, optional
            As in `fit`; they are not kept from there.

        Returns
        -------
        EDDPMImputer
            Itself. Ctrl-C ends training early and leaves the head as it is then.

        Raises
        ------
        NotFittedError, InputError
            Before `fit`; if the data do not fit the model, an argument cannot be used, or no cell
            was hidden.
        """
        from tsimpute.fitting.heads import with_marginals

        check_count("iterations", iterations)
        check_switch("freeze_trunk", freeze_trunk)
        data = self._read_training(X, patterns)
        self.model_ = with_marginals(self, self.model_, data, iterations, freeze_trunk)
        return self

    def respace(
        self, method: str = "uniform", n_steps: int = 5, X: Any = None, *, patterns: Any = None
    ) -> Self:
        """A fitted imputer with fewer of this one's steps, without training.

        The network is shared and this imputer keeps its steps. The other one has no calibration:
        it was that of these steps; call its `fit_calibration`.

        Parameters
        ----------
        method : {"uniform", "quadratic", "elbo", "analytic", "align"}, default="uniform"
            Evenly or quadratically spaced; or by the network's errors: dynamic programming on
            the ELBO (Watson et al. 2021b) or with Analytic-DPM's variances (Bao et al. 2022a),
            or align-your-steps (Sabour et al. 2024).
        n_steps : int, default=5
            1 to the number of steps that the model has.
        X : DataFrame, array, DataArray or Dataset, optional
            What the last three methods measure the errors on, in 16 windows; best not the
            training data.
        patterns : DataFrame, array, DataArray or Dataset, optional
            As in `fit`: whose holes are laid over X for that.

        Returns
        -------
        EDDPMImputer
            Another imputer.

        Raises
        ------
        NotFittedError, InputError
            Before `fit`; if the method is unknown, there are not so many steps, or X is needed.
        """
        from tsimpute.fitting.respacing import respaced

        check_is_fitted(self)
        if X is None and patterns is not None:
            raise InputError("patterns: got data to hide cells of X, but no X; pass both")
        data = None if X is None else self._read_training(X, patterns)
        model = respaced(self, self.model_, method, n_steps, data)
        other = type(self)(**{**self.get_params(), "kept_steps": n_steps})
        return other._adopt(model, self.seed_, self.history_, self.keep_prob_history_)

    def step_importance(
        self, X: Any, *, hidden_fraction: float = 0.1, max_windows: int | None = 16
    ) -> pd.DataFrame:
        """How the CRPS changes when each single kept step is left out (EDDPM, Figure 1).

        Parameters
        ----------
        X : DataFrame, array, DataArray or Dataset
            Some observed cells are hidden and scored, the same ones in each chain.
        hidden_fraction : float, default=0.1
            Share of the observed cells that is hidden.
        max_windows : int, default=16
            About how many windows are sampled at most; None: all.

        Returns
        -------
        DataFrame, indexed by `step`, the original 0-based diffusion step
            `crps_without`, normalised, in standardised units, and `change`, relative to all
            steps: above 0 where the step helps. The CRPS of all steps is ``attrs["crps"]``. For
            a picture: `tsimpute.plotting.plot_step_importance`.

        Raises
        ------
        NotFittedError, InputError
            As in `transform`; also if there is one step only, or the sampler is "ggdm".
        """
        from tsimpute.assessment import exploration

        return exploration.step_importance(self, self._read(X), hidden_fraction, max_windows)

    def speed_quality(
        self,
        X: Any,
        *,
        steps: Sequence[int] | int | None = None,
        samplers: Sequence[str] | str | None = None,
        variances: Sequence[str] | str | None = None,
        n_samples: Sequence[int] | int = (16,),
        starts: Sequence[str] | str | None = None,
        spacing: str = "uniform",
        hidden_fraction: float = 0.1,
        max_windows: int | None = 16,
        patterns: Any = None,
    ) -> pd.DataFrame:
        """CRPS, coverage and cost of many ways to sample, to choose from.

        By default a model of ten steps as `fit` leaves it has 40 settings, and 43,000 evaluations
        of the default network for one window: on one core 8 minutes for 7 features, and half an
        hour for 35. A marginal head doubles it; naming few steps, samplers or variances shortens
        it.

        Parameters
        ----------
        X : DataFrame, array, DataArray or Dataset
            Some observed cells are hidden and scored, the same ones in each row.
        steps : int or sequence of int, optional
            Default: 1, 2, 3, 5, 10, 20, … and all that the model has.
        samplers : str or sequence of str, optional
            Default: the imputer's own, "dpm-solver++2m-sde", "ddpm", "ddim", "unipc", and what
            was fitted for this model.
        variances : str or sequence of str, optional
            Default: all that the model can use, but for "large".
        n_samples : int or sequence of int, default=(16,)
        starts : str or sequence of str, optional
            Default: "noise", and "marginals" where the model has a marginal head.
        spacing : str, default="uniform"
            How steps are chosen: a method of `respace`.
        hidden_fraction : float, default=0.1
            Share of the observed cells that is hidden.
        max_windows : int, default=16
            About how many windows are sampled at most; None: all.
        patterns : DataFrame, array, DataArray or Dataset, optional
            As in `respace`, for a `spacing` by errors.

        Returns
        -------
        DataFrame, one row a setting
            `sampler`, `variance`, `start`, `steps`, `n_samples`, `nfe_per_window` (network
            evaluations for all samples of a window, where a Jacobian-vector product, which "genie"
            takes, counts as three), `crps` in standardised units, `coverage_50` and
            `coverage_90` of quantiles that are not calibrated, `seconds`, and `pareto`: no other
            row has a lower CRPS for as few evaluations. The marginal head, where there is one, is
            the row of sampler "head". For a picture: `tsimpute.plotting.plot_speed_quality`.

        Raises
        ------
        NotFittedError, InputError
            As in `transform`; if a name is unknown, a named setting does not fit the model, or
            it has fewer steps.
        """
        from tsimpute.assessment import exploration

        survey = exploration.Survey(
            steps, samplers, variances, n_samples, starts, spacing, hidden_fraction, max_windows
        )
        return exploration.speed_quality(self, self._read_training(X, patterns), survey)
