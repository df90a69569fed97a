"""A fitted model: all that sampling needs, and nothing of how it was found."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from tsimpute.denoiser.anchor import Anchor
from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.denoiser.heads import OutputHead
from tsimpute.denoiser.marginals import MarginalNetwork
from tsimpute.denoiser.step_widths import StepWidths, step_networks
from tsimpute.diffusion.schedule import NoiseSchedule, TimeGrid
from tsimpute.errors import DataWarning, InputError
from tsimpute.evaluation.calibrations import NO_CALIBRATIONS, Calibrations
from tsimpute.panel.containers import read_panel
from tsimpute.panel.core import Panel
from tsimpute.panel.fill_values import warn_of_fill_values
from tsimpute.panel.scaling import FeatureScaler
from tsimpute.panel.side import NO_SIDE, SideColumns, SideShape, scaled_series
from tsimpute.panel.time_step import TimeStep
from tsimpute.samplers.ggdm import Coefficients

CLAMP_WIDENING = 0.25  # of the training range, on either side
SAME_STEP = 0.01  # share of a time step that two of them may differ by


@dataclass(frozen=True)
class FittedModel:
    """Network, kept steps and scaling.

    Attributes
    ----------
    network : CSDIDenoiser
        In eval mode.
    schedule : NoiseSchedule
        The full chain that the network was trained on.
    grid : TimeGrid
        The kept steps.
    keep_prob : ndarray of float64, shape (T,)
        Learned probability of keeping each step; 1 everywhere where nothing was pruned.
    scaler : FeatureScaler
    anchor : Anchor
        What is diffused: values, or their distance from a line between given cells.
    feature_names : tuple or None
        Labels of the imputed columns in the network's order.
    window_steps : int
        Rows that the network sees at once.
    heads : mapping of str to OutputHead
        Variance heads on the network's trunk, by kind; in eval mode.
    noise_power : ndarray of float64, shape (T,), optional
        Analytic-DPM's mean squared predicted noise by original step, NaN where not measured.
    marginals : MarginalNetwork, optional
        Marginal distributions in one evaluation.
    ggdm : Coefficients, optional
        Fitted coefficients of the sampler "ggdm" for the levels of `grid`.
    spectrum : ndarray of float64, shape (window_steps // 2 + 1, K), optional
        Temporal spectrum of what is diffused, for the sampler "tdas".
    widths : StepWidths, optional
        How wide the network is at each step of `grid`; None where it was trained as a whole only.
    calibrations : Calibrations
        Factors that quantiles are stretched by, for each way to make them that was calibrated;
        for the steps of `grid`.
    side : SideColumns, optional
        What conditions the network besides the features.
    time_step : TimeStep, optional
        What one row was in the training data; None where that is not known, or not of one length.
    """

    network: CSDIDenoiser
    schedule: NoiseSchedule
    grid: TimeGrid
    keep_prob: NDArray[np.float64]
    scaler: FeatureScaler
    anchor: Anchor
    feature_names: tuple[Hashable, ...] | None
    window_steps: int
    heads: Mapping[str, OutputHead] = field(default_factory=dict)
    noise_power: NDArray[np.float64] | None = None
    marginals: MarginalNetwork | None = None
    ggdm: Coefficients | None = None
    spectrum: NDArray[np.float64] | None = None
    widths: StepWidths | None = None
    calibrations: Calibrations = NO_CALIBRATIONS
    side: SideColumns | None = None
    time_step: TimeStep | None = None

    def __post_init__(self) -> None:
        if self.widths is not None and len(self.widths) != len(self.grid):
            raise InputError(
                f"widths: got {len(self.widths)} for {len(self.grid)} kept steps, expected as many"
            )

    @property
    def step_networks(self) -> list[CSDIDenoiser]:
        """The network of each kept step, as wide as it is there."""
        return step_networks(self.network, len(self.grid), self.widths)

    @property
    def modules(self) -> tuple[torch.nn.Module, ...]:
        """Everything with weights."""
        others = [] if self.marginals is None else [self.marginals]
        return (self.network, *self.heads.values(), *others)

    @property
    def n_features(self) -> int:
        """K, the number of imputed columns."""
        return self.network.config.n_features

    @property
    def n_inputs(self) -> int:
        """Columns of the user's data: imputed and exogenous ones."""
        return self.n_features + (0 if self.side is None else len(self.side.places))

    @property
    def input_names(self) -> tuple[Hashable, ...] | None:
        """Labels of the columns of the user's data, in the order of the fit."""
        if self.feature_names is None or self.side is None:
            return self.feature_names
        return self.side.all_names(self.feature_names)

    @property
    def feature_labels(self) -> tuple[Hashable, ...] | None:
        """What the user calls the imputed columns; None where that is 0, 1, … anyway."""
        if self.feature_names is not None or self.side is None:
            return self.feature_names
        return tuple(i for i in range(self.n_inputs) if i not in self.side.places)

    @property
    def side_shape(self) -> SideShape:
        """What the last columns of a scaled series are."""
        return NO_SIDE if self.side is None else self.side.shape

    @property
    def regular(self) -> bool:
        """Whether times must have one regular step."""
        return self.side is None or self.side.clock is None

    def read(self, data: Any, name: str = "X") -> Panel:
        """The user's data with the model's features in its order, exogenous columns set apart.

        Raises
        ------
        InputError
            If the data do not fit the model; the message names the column or row.
        """
        panel = read_panel(data, name=name, regular=self.regular)
        panel = panel.aligned_to(self.input_names, self.n_inputs)
        return panel if self.side is None else self.side.split(panel)

    def warn_of_fill_values(self, panel: Panel, stacklevel: int) -> None:
        """Give a DataWarning of cells of a panel, as `read` makes it, far from training data."""
        known = [(panel.values, panel.feature_labels, self.scaler)]
        if panel.covariates is not None and self.side is not None and self.side.places:
            names = panel.covariate_names or self.side.places
            known.append((panel.covariates, names, self.side.scaler))
        for series, labels, scaler in known:
            warn_of_fill_values(series, labels, panel.name, scaler, stacklevel)

    def warn_of_other_step(self, panel: Panel, stacklevel: int) -> None:
        """Give a DataWarning if a row of a panel is longer or shorter than in the training data."""
        known = self.time_step
        too_short = max(len(times) for times in panel.times) < 3  # a month, or 31 days?
        if known is None or not known.in_time or not self.regular or too_short:
            return
        step = TimeStep.of(panel)
        if step.in_time and not known.agrees_with(step, SAME_STEP):
            warnings.warn(
                f"{panel.name} has {step}, but the model was trained on {known}, and takes a row "
                f"for as long; resample {panel.name}, or fit with time='clock'",
                DataWarning,
                stacklevel=stacklevel,
            )

    def scaled(self, panel: Panel) -> list[NDArray[np.float64]]:
        """Each series of a panel as the network wants it; see `scaled_series`."""
        return scaled_series(panel, self.scaler, self.side)

    def clamp_range(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Lowest and highest scaled value (K,) that a sample may take: the widened data range."""
        low, high = self.scaler.low, self.scaler.high
        margin = CLAMP_WIDENING * np.maximum(high - low, 1.0)
        bounds = torch.from_numpy(np.stack([low - margin, high + margin]).astype(np.float32))
        return bounds[0], bounds[1]


def resolve_device(name: str | torch.device) -> torch.device:
    """Device by name: "auto" takes CUDA, then MPS, then the CPU.

    Raises
    ------
    InputError
        If the name is unknown or the device is not there.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    expected = "expected 'auto', 'cpu', 'cuda', 'cuda:<n>' or 'mps'"
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"device={name!r} is unknown; {expected}") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device={name!r} is not there: this machine has {torch.cuda.device_count()} CUDA "
            f"devices; {expected}"
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"device={name!r} is not there; {expected}")
    if device.type not in ("cpu", "cuda", "mps"):
        raise InputError(f"device={name!r} is not supported; {expected}")
    return device
