"""A network that has seen other data before it is fitted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state

from tsimpute.arguments import check_count, check_number
from tsimpute.imputer.base import FittedImputer
from tsimpute.settings import check_parameters

if TYPE_CHECKING:
    import pandas as pd

    from tsimpute.fitting.trunk import PretrainedTrunk
    from tsimpute.panel.core import Panel
    from tsimpute.panel.side import SideColumns


class Pretrains(FittedImputer):
    """Part of `EDDPMImputer`: pre-training on visible cells, before `fit`."""

    pretrained_: PretrainedTrunk
    pretraining_history_: pd.DataFrame

    def pretrain(
        self,
        data: Any,
        *,
        mask_rate: float = 0.5,
        mask_kind: str = "block",
        epochs: int | None = None,
        time_budget_s: float | None = None,
        checkpoint: str | Path | None = None,
    ) -> Self:
        """Train a new network on parts of one or more data sets, for a later `fit` to start from.

        In each iteration the network is run on visible cells only, which makes it cheaper; some
        of these are hidden and learned, as in `fit` (MaskDM, Lei et al. 2023). Data sets may
        differ in features and lengths. Features of one name are taken for the same; each data
        set is scaled by itself. All steps of the chain are trained, and none is pruned.

        Parameters
        ----------
        data : DataFrame, array, DataArray or Dataset, or a list of these
            What is learned from, with holes; each as in `fit`, and all with one time step.
        mask_rate : float, default=0.5
            Share of the observed cells that the network does not get, between 0 and 1. One row,
            feature or cell of each window stays visible: a rate that this puts out of reach is
            warned of, and the plan that is printed tells what is hidden on average.
        mask_kind : {"block", "feature", "cell"}, default="block"
            What is left out: stretches of time, whole features, or single cells.
        epochs : int, optional
            Passes over the windows of all data sets.
        time_budget_s : float, optional
            Seconds; whichever of the two ends first counts. Without both about 2,000 iterations:
            the imputer's own `epochs` and `time_budget_s` are those of `fit`, which has other,
            and mostly fewer, rows to learn from.
        checkpoint : str or Path, optional
            As in `fit`.

        Returns
        -------
        EDDPMImputer
            Itself. It is not fitted, but `fit` starts from ``pretrained_``; what happened is in
            ``pretraining_history_``. Ctrl-C ends pre-training early and keeps what was learned.

        Raises
        ------
        InputError
            If the data, their time steps or a parameter cannot be used, or nothing of a data set
            can be hidden; the message names it.
        """
        from tsimpute.fitting.data_sets import read_data_sets
        from tsimpute.fitting.pretraining import Pretraining, pretrain
        from tsimpute.sampling.choices import check_choices
        from tsimpute.training.cell_masks import Masking

        check_parameters(self)
        check_choices(self)
        if epochs is not None:
            check_count("epochs", epochs)
        if time_budget_s is not None:
            check_number("time_budget_s", time_budget_s, above=0)
        how = Pretraining(Masking(mask_kind, mask_rate), epochs, time_budget_s, checkpoint)
        sets = read_data_sets(self, data)
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        return self._adopt_trunk(pretrain(self, sets, how, seed))

    def save_pretrained(self, path: str | Path) -> Path:
        """Save what `pretrain` learned to a directory, atomically: all of it or nothing.

        Parameters
        ----------
        path : str or Path
            Directory to make; pre-trained weights that are there already are replaced.

        Returns
        -------
        Path
            The directory; `from_pretrained` reads it.

        Raises
        ------
        NotFittedError, InputError, OSError
            Before `pretrain`; if the path is something else; if it cannot be written.
        """
        from tsimpute.fitting.trunk_files import save_trunk

        if not hasattr(self, "pretrained_"):
            raise NotFittedError(
                "there are no pre-trained weights to save; call pretrain(data) first, or save() "
                "for a fitted model"
            )
        return save_trunk(self.pretrained_, path)

    @classmethod
    def from_pretrained(cls, path: str | Path, **parameters: Any) -> Self:
        """Imputer that starts its `fit` from saved pre-trained weights.

        Parameters
        ----------
        path : str or Path
            Directory that `save_pretrained` made.
        **parameters
            Of the imputer. Window, network, noise levels, anchor, covariates and time are those
            of pre-training unless given.

        Returns
        -------
        EDDPMImputer
            Not fitted yet.

        Raises
        ------
        ModelFileError
            If a file is missing, truncated or altered, or of a newer format.
        """
        from tsimpute.fitting.trunk_files import load_trunk

        trunk = load_trunk(path)
        return cls(**{**trunk.parameters, **parameters})._adopt_trunk(trunk)

    def __sklearn_clone__(self) -> Self:
        """Unfitted copy that starts from the same pre-trained network, as in cross-validation."""
        copy: Self = super().__sklearn_clone__()
        return copy._adopt_trunk(self.pretrained_) if hasattr(self, "pretrained_") else copy

    def _adopt_trunk(self, trunk: PretrainedTrunk) -> Self:
        self.pretrained_ = trunk
        self.pretraining_history_ = trunk.history
        return self

    def _checked_trunk(self, panel: Panel, side: SideColumns | None) -> PretrainedTrunk | None:
        """What a fit on these data starts from; None where nothing was pre-trained."""
        from tsimpute.fitting.pretraining import check_start

        trunk = getattr(self, "pretrained_", None)
        if trunk is not None:
            check_start(self, trunk, panel, side)
        return trunk
