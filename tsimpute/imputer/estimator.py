"""The estimator: checks, converts, delegates."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import OneToOneFeatureMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.validation import check_is_fitted

from tsimpute.fitting.time_budget import deadline_of
from tsimpute.imputer.checking import ChecksItself
from tsimpute.imputer.choosing import ChoosesSampling
from tsimpute.imputer.explaining import ExplainsCells
from tsimpute.imputer.filling import FillsHoles
from tsimpute.imputer.pretraining import Pretrains
from tsimpute.imputer.repeating import ImputesRepeatedly
from tsimpute.imputer.streaming import Streams
from tsimpute.imputer.widths import SlimsSteps
from tsimpute.panel.checks import check_fit_panel
from tsimpute.panel.containers import read_panel
from tsimpute.panel.fill_values import warn_of_fill_values
from tsimpute.panel.side import SideColumns
from tsimpute.settings import check_parameters

if TYPE_CHECKING:
    import pandas as pd


class EDDPMImputer(
    FillsHoles,
    OneToOneFeatureMixin,  # type: ignore[misc]
    ChoosesSampling,
    ChecksItself,
    ExplainsCells,
    ImputesRepeatedly,
    Pretrains,
    SlimsSteps,
    Streams,
):
    """Fills the holes of multivariate time series by conditional diffusion with few steps.

    The CSDI transformer (Tashiro et al., NeurIPS 2021), trained with EDDPM (Zhang et al.,
    ICML 2024): each diffusion step has a keep-probability, learned together with the weights,
    and only `kept_steps` of the `diffusion_steps` remain.

    Data are a DataFrame with a DatetimeIndex (one series), a DataFrame with a (series, time)
    MultiIndex (many, of any length), an array (time, feature) or (series, time, feature), or an
    xarray DataArray or Dataset. NaN means missing, everywhere.

    Parameters
    ----------
    window_steps : int, default=36
        Rows that the network sees at once.
    kept_steps : int, default=10
        Diffusion steps that remain. Equal to `diffusion_steps`: nothing is pruned (CSDI).
    n_samples : int, default=20
        Samples behind the median of `transform` and the default of the other methods. They are
        enough for medians and 90 % bands where quantiles are those of a mixture, which is with
        every `variance` but "fixed"; that one, and tails, want 50 or more.
    epochs : int, default=None
        Passes over the training windows. None: about 1,300 iterations, or as long as
        `time_budget_s` lasts.
    time_budget_s : float, default=None
        Seconds that `fit` may take. For what comes after training it keeps a tenth of them, but at
        most 10 s, if `variance` is learned, and a quarter if `calibrate`: the variance then sees
        fewer batches, and calibration samples fewer windows, if that is not enough. One validation,
        one batch and one window are finished in any case.
    diffusion_steps : int, default=50
        T, the steps of the full chain.
    schedule : {"quad", "linear"}, default="quad"
        How beta grows over the steps.
    beta_start, beta_end : float, default=1e-4, 0.5
        First and last beta.
    conditioning : {"index", "logsnr"}, default="index"
        What the network is told of the noise level: the step's index, as in the papers, or the
        signal-to-noise ratio.
    mask_rule : {"guarded", "paper"}, default="guarded"
        How the kept steps are learned; "paper" is EDDPM's printed rule.
    target_strategy : str, default="random"
        Which observed cells training hides: "random" ones; random ones or stretches of time, half
        and half ("block", for data whose holes are outages); those that are missing in another
        window ("historical"), or half of these and half random ("mix"); random ones or the last
        rows of some features, half and half ("last"); the last rows of all ("forecast").
    anchor : {"linear", "local", "none"}, default="linear"
        What is diffused: the distance from the line between the neighbouring observed cells;
        the same with each window's own level taken out ("local", for series whose level
        wanders); or the value itself, as in CSDI ("none").
    period : int, "auto" or None, default="auto"
        Rows in a season, fewer than a window has: the lines of the anchor bend, inside long gaps
        and as far as that helps each feature in training, to what the window holds at the same
        time of other seasons. "auto" takes what the timestamps suggest and the window has room
        for: a day of hourly rows, a week of daily ones, a year of weekly or monthly ones. None:
        straight lines.
    exogenous : sequence of hashable, default=None
        Columns that condition the network and are never imputed: by name, or by position in
        plain arrays. They must be complete, here and later. A static covariate, such as an age,
        is a column that is constant within each series.
    calendar : sequence of str, default=None
        What the timestamps say, as sine and cosine, beside the exogenous columns: "minute",
        "hour", "dayofweek", "dayofmonth", "dayofyear", "month".
    time : {"steps", "clock"}, default="steps"
        How far apart rows are: one step, and times must then be regular; or as far as the
        timestamps say, in units of the median step of the training data, for the network and for
        the lines of the anchor. "clock" takes irregular times; windows still count rows.
    channels, layers, heads : int, default=64, 4, 8
        Size of the network.
    dropout : float, default=0.1
        Of the transformer layers, in training.
    attention_dropout : float, default=0.0
        Of the attention weights. CSDI has 0.1; without it training is faster by half.
    batch_size : int, default=16
        Windows of one training iteration.
    learning_rate : float, default=None
        Of Adam; a tenth of it from 75 % of the run on and a hundredth from 90 %. None: 3e-3 from
        scratch; 1e-3, as in CSDI, for what was trained or pre-trained before, and for `pretrain`;
        `prune` takes a tenth.
    warmup : float, default=0.03
        Share of a training from scratch in which the learning rate rises. CSDI has none: 0.
    ema_decay : float, default=0.999
        Of the averaged weights that are kept.
    validation_fraction : float, default=0.1
        Share of the series, or of the rows of few long ones, held out to choose the best
        weights; 0 uses the training rows with other cells hidden.
    patience : int, default=None
        Epochs without improvement before training ends early; None: never.
    train_stride : int, default=None
        Rows between two training windows of an epoch; None: half a window.
    overlap : float, default=0.5
        Share of a window in common with the next when a long series is filled.
    scaling : {"standard", "log", "rank"} or dict of column to one of these, default="standard"
        How columns are brought to one scale before they are standardised: "log" for those with a
        long tail on the right, "rank" (normal scores) for other skewed ones. A column that a
        dict does not name is "standard".
    bounds : dict of column to (low, high), default=None
        Range of imputed values, None for no bound on a side: ``{"spo2": (0, 100), "pm25": (0,
        None)}``. Columns by name, or by position where they have none. Observed cells are never
        changed, here and in the next two; `fit` refuses training data outside their bounds.
    integers : sequence of columns, default=None
        Columns whose imputed values are whole numbers.
    order : sequence of sequences of columns, default=None
        Chains of columns, each at most the next, in every sample and at every quantile level:
        ``(("DiasABP", "MAP", "SysABP"),)``.
    max_gap : int, str or Timedelta, default=None
        Longest gap that is filled, in rows or as a duration such as "6h"; cells of longer ones
        stay NaN. None: any.
    min_observed : int or float, default=None
        Observed cells of its own feature that one of the windows that see a hole must have, as
        a number or, below 1, as a share of the window's rows; other holes stay NaN. None: none.
    sampler : str, default="dpm-solver++2m-sde"
        How the kept steps are walked: "dpm-solver++2m-sde" (second order, with noise; Lu et al.
        2022b), "ddpm", "ddim", "dpm-solver-2", "dpm-solver-3", "dpm-solver++2m", "unipc",
        "s-pndm", "f-pndm", "genie", or, after `fit_sampler`, "ggdm", "tdas" or
        "genie-distilled". "ddim(0.5)" is DDIM with half of the noise of "ddpm" (eta, 0 to 1).
        "ggdm" and "genie-distilled" have no use for a variance: the default then stands for
        "fixed", and another one is refused.
    variance : {"fixed", "large", "analytic", "crps", "npr", "sn"}, default="crps"
        What the sampler is told of the variance of the clean values. All but "fixed" make
        quantiles those of the mixture of the Gaussians in which the trajectories end; the last
        four need `fit_variance`, which `fit` and `prune` then call.
    antithetic : bool, default=True
        Behind medians and quantiles, draw the second half of the samples with the opposite
        noise of the first, which makes quantiles from few samples more even. `sample` draws
        independently.
    start : {"noise", "marginals"}, default="noise"
        Where chains start: pure noise, or what the marginal head expects at the noisiest kept
        step, which one to three steps need; see `fit_marginals`.
    method : {"samples", "head"}, default="samples"
        What medians and quantiles come from: the sampler, or one evaluation of the marginal
        head.
    calibrate : bool, default=False
        Make `fit` and `prune` end with `fit_calibration` on the rows held out for validation, so
        that intervals cover as often as they say.
    mode : {"offline", "online", "forecast"}, default="offline"
        What a hole is filled from: the readings before and after it; those of its own row and
        the past alone ("online", one window for each row with a hole); or, for trailing rows
        without any reading, those before them ("forecast", up to `window_steps` - 1 such rows).
        Fitting with "online" or "forecast" also trains for it: the target strategy "random"
        then stands for "last" or "forecast".
    mixed_precision : bool, default=True
        bfloat16 while training on CUDA.
    slimmable : bool, default=False
        Train narrower widths of the network together with the whole one, for `search_widths`;
        each iteration takes about twice as long. A model that was fitted without it can be
        trained on by `train_widths`.
    device : str, default="auto"
        "auto", "cpu", "cuda", "cuda:<n>" or "mps".
    random_state : int, RandomState or None, default=None
        Seed of weights, batches and samples. None: another one at each fit.
    verbose : int, default=1
        0 silences plan and progress bars.

    Attributes
    ----------
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only where the columns have text labels.
    model_ : FittedModel
        Network, kept steps, scaling.
    history_ : DataFrame
        One row an epoch: losses, phase, expected number of steps, seconds.
    keep_prob_history_ : ndarray, shape (n_epochs, T)
        Keep-probabilities after each epoch.
    seed_ : int
        Seed that samples are drawn with unless another is given.
    stream_ : dict
        What `update` has taken, by series; not saved.
    width_search_ : DataFrame
        Strategies that `search_widths` tried; only after it, and not saved.
    pretrained_ : PretrainedTrunk
        Weights that `fit` starts from, of a clone too; only after `pretrain` or `from_pretrained`.
    pretraining_history_ : DataFrame
        One row an epoch of `pretrain`.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from tsimpute import EDDPMImputer
    >>> hours = pd.date_range("2026-01-01", periods=200, freq="h")
    >>> wave = np.sin(np.arange(200) / 4)
    >>> df = pd.DataFrame({"a": wave, "b": -wave}, index=hours)
    >>> df.iloc[50:55, 0] = np.nan
    >>> small = EDDPMImputer(window_steps=24, kept_steps=3, n_samples=5, epochs=1, channels=8,
    ...                      layers=1, heads=2, random_state=0, verbose=0)
    >>> filled = small.fit(df).transform(df)
    >>> int(filled.isna().sum().sum()), filled.index.equals(df.index)
    (0, True)
    """

    def __init__(
        self,
        window_steps: int = 36,
        kept_steps: int = 10,
        n_samples: int = 20,
        *,
        epochs: int | None = None,
        time_budget_s: float | None = None,
        diffusion_steps: int = 50,
        schedule: str = "quad",
        beta_start: float = 1e-4,
        beta_end: float = 0.5,
        conditioning: str = "index",
        mask_rule: str = "guarded",
        target_strategy: str = "random",
        anchor: str = "linear",
        period: int | str | None = "auto",
        exogenous: Sequence[Hashable] | None = None,
        calendar: Sequence[str] | None = None,
        time: str = "steps",
        channels: int = 64,
        layers: int = 4,
        heads: int = 8,
        dropout: float = 0.1,
        attention_dropout: float = 0.0,
        batch_size: int = 16,
        learning_rate: float | None = None,
        warmup: float = 0.03,
        ema_decay: float = 0.999,
        validation_fraction: float = 0.1,
        patience: int | None = None,
        train_stride: int | None = None,
        overlap: float = 0.5,
        scaling: Any = "standard",
        bounds: Any = None,
        integers: Any = None,
        order: Any = None,
        max_gap: Any = None,
        min_observed: float | None = None,
        sampler: str = "dpm-solver++2m-sde",
        variance: str = "crps",
        antithetic: bool = True,
        start: str = "noise",
        method: str = "samples",
        calibrate: bool = False,
        mode: str = "offline",
        mixed_precision: bool = True,
        slimmable: bool = False,
        device: str = "auto",
        random_state: Any = None,
        verbose: int = 1,
    ) -> None:
        self.window_steps = window_steps
        self.kept_steps = kept_steps
        self.n_samples = n_samples
        self.epochs = epochs
        self.time_budget_s = time_budget_s
        self.diffusion_steps = diffusion_steps
        self.schedule = schedule
        self.beta_start = beta_start
        self.beta_end = beta_end
        self.conditioning = conditioning
        self.mask_rule = mask_rule
        self.target_strategy = target_strategy
        self.anchor = anchor
        self.period = period
        self.exogenous = exogenous
        self.calendar = calendar
        self.time = time
        self.channels = channels
        self.layers = layers
        self.heads = heads
        self.dropout = dropout
        self.attention_dropout = attention_dropout
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.warmup = warmup
        self.ema_decay = ema_decay
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.train_stride = train_stride
        self.overlap = overlap
        self.scaling = scaling
        self.bounds = bounds
        self.integers = integers
        self.order = order
        self.max_gap = max_gap
        self.min_observed = min_observed
        self.sampler = sampler
        self.variance = variance
        self.antithetic = antithetic
        self.start = start
        self.method = method
        self.calibrate = calibrate
        self.mode = mode
        self.mixed_precision = mixed_precision
        self.slimmable = slimmable
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        patterns: Any = None,
        checkpoint: str | Path | None = None,
    ) -> EDDPMImputer:
        """Learn the network and the steps to keep; after `pretrain` from the weights learned there.

        Parameters
        ----------
        X : DataFrame, array, DataArray or Dataset
            Training data with holes; see the class.
        y : None
            Ignored; there for scikit-learn.
        patterns : DataFrame, array, DataArray or Dataset, optional
            Data whose holes the target strategies "mix" and "historical" lay over X; default:
            X itself, which then needs holes. Only where they are missing is read, not their
            values. They are not kept: give them to `prune`, `fit_variance` and the like again.
        checkpoint : str or Path, optional
            File that holds the state of training, written after each epoch. A run that was
            stopped goes on from it; it is removed when training is complete.

        Returns
        -------
        EDDPMImputer
            Itself. Ctrl-C ends training early and leaves the best model so far. After training
            it ends the rest: the variance is learned from what was seen until then, and the
            intervals are not calibrated.

        Raises
        ------
        InputError
            If the data or a parameter cannot be used; the message names it.
        DivergenceError
            If the loss is not finite; where an earlier epoch had learned something, its weights
            are kept instead, with a warning.
        """
        from tsimpute.fitting.fit import train_from_scratch
        from tsimpute.fitting.training_data import TrainingData, read_patterns
        from tsimpute.sampling.choices import check_choices
        from tsimpute.sampling.finishing import check_rules

        check_parameters(self)
        check_choices(self)
        regular = self.time == "steps"
        panel = read_panel(X, regular=regular)
        warn_of_fill_values(panel.values, panel.feature_names, panel.name)
        side = SideColumns.fit(panel, self.exogenous, self.calendar, self.time)
        holes = read_patterns(patterns, panel.feature_names, panel.n_features, side, regular)
        panel = panel if side is None else side.split(panel)
        check_fit_panel(panel, self.window_steps)
        check_rules(self, panel)
        trunk = self._checked_trunk(panel, side)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        held_out = self._held_out(panel, self.window_steps, seed)
        data = TrainingData(panel, seed, holes)
        model, trainer = train_from_scratch(self, data, side, checkpoint, trunk)
        self._adopt_trained(model, seed, trainer)
        deadline = deadline_of(self, trainer.seconds)
        return self._finish_fit(data, held_out, deadline)

    def prune(
        self,
        X: Any,
        kept_steps: int = 5,
        *,
        epochs: int = 1,
        mask_rule: str | None = None,
        steps: Sequence[int] | None = None,
        patterns: Any = None,
    ) -> EDDPMImputer:
        """Fine-tune the fitted model to fewer steps, in place (EDDPM, Table 3).

        Parameters
        ----------
        X : DataFrame, array, DataArray or Dataset
            Training data with the columns of the fitted model.
        kept_steps : int, default=5
            Steps that remain; at most as many as there are now.
        epochs : int, default=1
            Passes over the training windows.
        mask_rule : {"guarded", "paper"}, optional
            Default: the imputer's own.
        steps : sequence of int, optional
            Keep exactly these original steps and only fine-tune the network on them.
        patterns : DataFrame, array, DataArray or Dataset, optional
            As in `fit`; they are not kept from there.

        Returns
        -------
        EDDPMImputer
            Itself; as to Ctrl-C, see `fit`.

        Raises
        ------
        NotFittedError
            Before `fit`.
        DivergenceError
            As in `fit`.
        InputError
            If `kept_steps` is 0 or more than the model has, the data do not fit the model, no
            cell of them would be hidden, or `calibrate` would need what pruning loses: what "ggdm"
            and "genie-distilled" learned.
        """
        from tsimpute.fitting.fit import Pruning, fine_tune
        from tsimpute.sampling.choices import check_choices

        check_is_fitted(self)
        check_choices(self, self.model_)
        data = self._read_training(X, patterns)
        held_out = self._held_out(data.panel, self.model_.window_steps, self.seed_)
        how = Pruning(kept_steps, epochs, mask_rule, steps)
        old = self.model_
        model, trainer = fine_tune(self, old, data, how)
        self._adopt_trained(model, self.seed_, trainer)
        self._warn_if_calibration_is_lost(old, held_out, stacklevel=3)
        return self._finish_fit(data, held_out)

    @classmethod
    def from_csdi_weights(
        cls,
        path: str | Path,
        *,
        mean: ArrayLike | None = None,
        std: ArrayLike | None = None,
        feature_names: Sequence[str] | None = None,
        **parameters: Any,
    ) -> EDDPMImputer:
        """Fitted imputer from an official CSDI checkpoint, with every step, ready to prune.

        Parameters
        ----------
        path : str or Path
            .npz, .safetensors or .pth; the last is read without running its pickle.
        mean, std : array_like, shape (K,), optional
            Of each feature, as the checkpoint was trained; default 0 and 1, for data that are
            standardised already.
        feature_names : sequence of str, optional
            Columns in the checkpoint's order.
        **parameters
            Of the imputer; the network's size is read from the checkpoint. `variance` is "fixed"
            unless given: a checkpoint has no variance head.

        Raises
        ------
        ModelFileError
            If the file is not such a checkpoint.
        """
        from tsimpute.fitting.csdi_checkpoint import model_from_csdi

        parameters.setdefault("window_steps", 48)
        model, shape = model_from_csdi(path, mean, std, feature_names, parameters)
        bare = {"kept_steps": len(model.grid), "anchor": "none", "variance": "fixed"}
        parameters = {**bare, **shape, **parameters}
        imputer = cls(**parameters)
        check_parameters(imputer)
        seed = int(check_random_state(imputer.random_state).randint(2**31 - 1))
        return imputer._adopt(model, seed)

    @property
    def step_schedule_(self) -> pd.DataFrame:
        """Learned schedule: one row an original step (index `step`, 0-based).

        Columns: `keep_prob`, `kept`, `alpha_bar`, the share of signal left at the step (of the
        kept chain where it is kept, of the full chain elsewhere), and `width`, eighths of the
        network's channels that the step uses: 8, unless there is less after `search_widths` or
        `use_widths`, and 0 where the step is not kept.
        """
        import pandas as pd

        from tsimpute.denoiser.slimmable import WHOLE

        check_is_fitted(self)
        model = self.model_
        alpha_bar = model.schedule.alpha_bar.copy()
        alpha_bar[model.grid.index] = model.grid.alpha_bar
        kept = np.zeros(model.schedule.n_steps, dtype=bool)
        kept[model.grid.index] = True
        width = np.zeros(len(kept), dtype=np.int64)
        width[model.grid.index] = WHOLE if model.widths is None else model.widths.eighths
        columns = {
            "keep_prob": model.keep_prob,
            "kept": kept,
            "alpha_bar": alpha_bar,
            "width": width,
        }
        return pd.DataFrame(columns, index=pd.RangeIndex(len(kept), name="step"))

    def save(self, path: str | Path) -> Path:
        """Save to a directory, atomically: all of it or nothing.

        Parameters
        ----------
        path : str or Path
            Directory to make; a saved model that is there already is replaced.

        Returns
        -------
        Path
            The directory; `tsimpute.load` reads it.

        Raises
        ------
        NotFittedError, InputError, OSError
            Before `fit`; if the path is something else; if it cannot be written.
        """
        from tsimpute.persistence import save

        check_is_fitted(self)
        return save(self, path)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
