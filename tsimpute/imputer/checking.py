"""How a fitted imputer is checked on cells that it hides itself, and calibrated by them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self

from tsimpute.arguments import check_count
from tsimpute.imputer.base import FittedImputer

if TYPE_CHECKING:
    import pandas as pd

    from tsimpute.assessment.calibration import Hiding
    from tsimpute.assessment.selfcheck import SelfCheck


class ChecksItself(FittedImputer):
    """Part of `EDDPMImputer`: calibration of intervals, and comparison with simple methods."""

    def fit_calibration(
        self,
        X: Any,
        *,
        pattern: str | None = None,
        hidden_fraction: float = 0.1,
        max_windows: int | None = None,
        random_state: Any = None,
    ) -> Self:
        """Learn how much wider or narrower intervals must be, on cells that are hidden for it.

        Split-conformal calibration (conformalised quantiles, Romano et al. 2019), by feature and
        by distance to the nearest observed cell; the network is not changed. It holds for the
        imputer's present `method`, `sampler`, `variance` and `start`, and for its steps: afterwards
        `predict_quantiles` is calibrated for these and refuses others, but for those that were
        calibrated before, which stay so. Intervals from fewer samples than `n_samples` are a
        little narrower.

        Hidden cells that `max_gap` or `min_observed` refuse are not learned from. What is learned
        is used before `bounds`, `integers` and `order` are, and is learned without them.

        Parameters
        ----------
        X : DataFrame, array, DataArray or Dataset
            Data that training has not seen: new series, or the very data to be filled.
        pattern : {"mixed", "point", "block", "like-data", "last"}, optional
            Which observed cells are hidden; see `evaluate`. Default: "mixed", and "last" with
            ``mode="forecast"``.
        hidden_fraction : float, default=0.1
            Share of the observed cells that is hidden at once.
        max_windows : int, optional
            About how many windows are filled at most; if X has fewer, other cells are hidden
            again, up to eight times. None: 256, and 1,024 where the marginal head fills them, for
            which one evaluation a window is enough.
        random_state : int, RandomState or None, optional
            None: the seed of the fit, the same cells each time.

        Returns
        -------
        EDDPMImputer
            Itself.

        Raises
        ------
        NotFittedError, InputError
            Before `fit`; if the data do not fit the model, no cell can be hidden, or all are
            refused.
        """
        from tsimpute.assessment.calibration import windows_for, with_calibration

        panel = self._read(X)
        max_windows = windows_for(self) if max_windows is None else max_windows
        hiding = self._hiding(random_state, pattern, hidden_fraction, max_windows)
        self.model_ = with_calibration(self, panel, hiding)
        return self

    def calibration_report(
        self,
        X: Any,
        *,
        levels: Sequence[float] = (0.5, 0.8, 0.9, 0.95),
        pattern: str | None = None,
        hidden_fraction: float = 0.1,
        max_windows: int = 256,
        random_state: Any = None,
        calibrated: bool = True,
    ) -> pd.DataFrame:
        """How often central intervals hold hidden cells, and how wide they are.

        The intervals are those that `predict_quantiles` gives: `bounds`, `integers` and `order`
        are kept, and hidden cells that `max_gap` or `min_observed` refuse are left out;
        ``attrs["n_refused"]`` says how many.

        Parameters
        ----------
        X : DataFrame, array, DataArray or Dataset
            Data that training has not seen. The hidden cells are other ones than those of
            `fit_calibration`.
        levels : sequence of float, default=(0.5, 0.8, 0.9, 0.95)
            Nominal coverage of the intervals, within (0, 1).
        pattern, hidden_fraction, max_windows, random_state
            As in `fit_calibration`.
        calibrated : bool, default=True
            Tell of calibrated intervals too, if the model has a calibration.

        Returns
        -------
        DataFrame, one row a group, level and kind
            `by` ("all", "feature", "distance" to the nearest given cell, or "gap length", both in
            rows) and `group`; the nominal `level`; `calibrated`, False for the intervals as they
            were predicted, True, if the model has a calibration, for those that
            `predict_quantiles` gives; `coverage`; mean `width`, in standard deviations of the
            feature; `n`, the number of cells. For a picture: `tsimpute.plotting.plot_reliability`.

        Raises
        ------
        NotFittedError, InputError
            As in `fit_calibration`; if a level lies outside (0, 1), or the model's calibration is
            that of another method, sampler, variance or start; pass ``calibrated=False`` then.
        """
        from tsimpute.assessment.calibration import report
        from tsimpute.settings import checked_quantiles

        checked = checked_quantiles(levels, "levels")
        panel = self._read(X)
        hiding = self._hiding(random_state, pattern, hidden_fraction, max_windows)
        return report(self, panel, hiding, checked, calibrated)

    def evaluate(
        self,
        X: Any,
        pattern: str | None = None,
        *,
        methods: Sequence[str] | None = None,
        period: int | None = None,
        hidden_fraction: float = 0.1,
        max_windows: int = 64,
        random_state: Any = None,
        calibrated: bool = True,
    ) -> SelfCheck:
        """Compare the imputer with simple methods on observed cells that are hidden for it.

        All methods see the same series with the same cells hidden. The imputer answers as
        `predict_quantiles` does: calibrated where the model has a calibration, and as `bounds`,
        `integers` and `order` want it. Hidden cells that `max_gap` or `min_observed` refuse are
        left out for all; the notes say how many.

        Parameters
        ----------
        X : DataFrame, array, DataArray or Dataset
            Best data that training has not seen: a network remembers something of the cells that
            it was trained on, and simple methods do not.
        pattern : {"like-data", "point", "block", "mixed", "last"}, optional
            Which observed cells are hidden: gaps as X has them (as long, and of the same features
            at once) at random places; single cells; stretches of single features of 2 rows to a
            window; half of the last two each; or the last rows of all features, 1 to
            `window_steps` - 1, where series are cut at random rows and end there for all methods.
            Default: "like-data", and "last" with ``mode="forecast"``.
        methods : sequence of str, optional
            Of "last value", "linear", "seasonal", "Kalman" (a local linear trend; needs
            statsmodels, takes a minute at most) and "IterativeImputer" (scikit-learn); default:
            all that can be used. Notes say what was left out or cut short, and why. With
            ``mode="online"`` only the first and the third, of earlier rows: the others look ahead.
        period : int, optional
            Rows in a season. Default: the imputer's own, or a day, a week or a year, by the time
            labels.
        hidden_fraction : float, default=0.1
            Share of the observed cells that is hidden.
        max_windows : int, default=64
            About how many windows are sampled at most; cells are hidden there alone.
        random_state : int, RandomState or None, optional
            None: the seed of the fit, the same cells each time.
        calibrated : bool, default=True
            Score calibrated quantiles if the model has a calibration.

        Returns
        -------
        SelfCheck
            Tables `overall`, `by_feature` and `by_gap`, `notes`, and `text`, which says in words
            whether a simple method wins, and where; ``print`` shows it.

        Raises
        ------
        NotFittedError, InputError
            Before `fit`; if the data do not fit the model, a name is unknown, no cell can be
            hidden, all are refused, or the model's calibration is that of another method,
            sampler, variance or start.
        """
        from tsimpute.assessment import selfcheck
        from tsimpute.assessment.exam import pattern_for
        from tsimpute.evaluation.rivals import RIVALS
        from tsimpute.sampling.methods import known_name

        names = [known_name("methods", name, RIVALS) for name in methods or RIVALS]
        if period is not None:
            check_count("period", period)
        elif not isinstance(self.period, str):
            period = self.period
        panel = self._read(X)
        pattern = pattern_for(self.mode, pattern, "like-data")
        hiding = self._hiding(random_state, pattern, hidden_fraction, max_windows)
        return selfcheck.evaluate(self, panel, hiding, names, period, calibrated)

    def _hiding(
        self, random_state: Any, pattern: str | None, hidden_fraction: float, max_windows: int
    ) -> Hiding:
        from tsimpute.assessment.calibration import Hiding

        return Hiding(self._seed(random_state), pattern, hidden_fraction, max_windows)
