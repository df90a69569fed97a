"""What heads, samplers and pruning learn from: which rows, which hidden cells, until when."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.modules.module import register_module_forward_hook

from tsimpute import EDDPMImputer
from tsimpute.denoiser.marginals import MarginalNetwork
from tsimpute.errors import InputError
from tsimpute.fitting.fit import data_plan
from tsimpute.panel.containers import read_panel
from tsimpute.training.setup import held_out_rows

TINY: dict[str, Any] = {
    "window_steps": 8,
    "kept_steps": 3,
    "n_samples": 4,
    "epochs": 1,
    "diffusion_steps": 8,
    "channels": 8,
    "layers": 1,
    "heads": 2,
    "random_state": 0,
    "device": "cpu",
    "verbose": 0,
}


def complete(n: int = 96) -> pd.DataFrame:
    values = np.random.default_rng(0).standard_normal((n, 2)).cumsum(axis=0)
    return pd.DataFrame(values, columns=["a", "b"])


def holed(n: int = 96) -> pd.DataFrame:
    frame = complete(n)
    return frame.mask(np.random.default_rng(1).random(frame.shape) < 0.3)


@pytest.fixture(scope="module")
def historical() -> EDDPMImputer:
    """Trained on complete data with the holes of others laid over them."""
    imputer = EDDPMImputer(**TINY, target_strategy="historical")
    return imputer.fit(complete(), patterns=holed())


LEARN: dict[str, Callable[..., Any]] = {
    "prune": lambda imputer, **more: imputer.prune(complete(), 2, **more),
    "fit_variance": lambda imputer, **more: imputer.fit_variance(complete(), n_batches=3, **more),
    "fit_marginals": lambda imputer, **more: imputer.fit_marginals(
        complete(), iterations=3, **more
    ),
    **{
        kind: lambda imputer, kind=kind, **more: imputer.fit_sampler(
            complete(), kind, iterations=2, **more
        )
        for kind in ("ggdm", "genie-distilled", "tdas")
    },
}


def copied(imputer: EDDPMImputer) -> EDDPMImputer:
    return EDDPMImputer(**imputer.get_params())._adopt(imputer.model_, imputer.seed_)


# ---- patterns -----------------------------------------------------------------------------------


def test_a_fit_on_complete_data_by_the_holes_of_others(historical: EDDPMImputer) -> None:
    assert set(historical.model_.heads) == {"crps"}
    assert np.isfinite(historical.history_[["train_loss", "validation_loss"]]).all(axis=None)
    assert not torch.equal(historical.model_.anchor.scale, torch.ones(2))  # it has seen targets
    assert not historical.transform(holed()).isna().any().any()


@pytest.mark.parametrize("name", LEARN)
def test_what_needs_hidden_cells_takes_patterns_and_refuses_to_learn_nothing(
    historical: EDDPMImputer, name: str
) -> None:
    imputer = copied(historical)
    before = imputer.model_
    with pytest.raises(InputError, match=r"target_strategy='historical' hid no cell.*patterns="):
        LEARN[name](imputer)
    assert imputer.model_ is before
    LEARN[name](imputer, patterns=holed())
    assert imputer.model_ is not before


def test_a_marginal_head_moves_by_the_cells_that_patterns_hide(historical: EDDPMImputer) -> None:
    imputer = copied(historical).fit_marginals(complete(), iterations=3, patterns=holed())
    learned = imputer.model_.marginals.network.state_dict()
    old = imputer.model_.network.state_dict()
    assert any(not torch.equal(learned[name], old[name]) for name in old)


def test_a_fit_that_would_learn_nothing_is_refused_before_it_begins() -> None:
    imputer = EDDPMImputer(**TINY | {"target_strategy": "historical", "variance": "fixed"})
    with pytest.raises(InputError, match="hid no cell of X"):
        imputer.fit(complete())
    assert not hasattr(imputer, "model_")


def test_a_batch_of_one_learns_from_the_holes_of_other_windows() -> None:
    options = TINY | {"target_strategy": "historical", "batch_size": 1}
    imputer = EDDPMImputer(**options).fit(holed())
    assert (imputer.history_["train_loss"] > 0).all()
    assert not imputer.transform(holed()).isna().any().any()


def test_patterns_have_the_columns_of_the_fit_and_something_observed(
    historical: EDDPMImputer,
) -> None:
    with pytest.raises(InputError, match="patterns: got data without an observed value"):
        historical.fit_variance(complete(), patterns=complete() * np.nan)
    with pytest.raises(InputError, match=r"(?s)now missing:\n- b\n.*columns of patterns"):
        historical.fit_variance(complete(), patterns=holed()[["a"]])
    swapped = copied(historical).fit_variance(complete(), patterns=holed()[["b", "a"]])
    ordered = copied(historical).fit_variance(complete(), patterns=holed())
    one, other = (each.model_.heads["crps"].state_dict() for each in (swapped, ordered))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_widths_are_trained_by_the_holes_of_others(historical: EDDPMImputer) -> None:
    imputer = copied(historical)
    with pytest.raises(InputError, match="hid no cell of X"):
        imputer.train_widths(complete(), epochs=1)
    imputer.train_widths(complete(), epochs=1, patterns=holed())
    assert (imputer.history_["train_loss"] > 0).all()
    trained = imputer.model_
    with pytest.raises(InputError, match="hid no cell of X"):
        imputer.use_widths([4, 8, 8], complete())
    with pytest.raises(InputError, match="patterns: got data to hide cells of X, but no X"):
        imputer.use_widths([4, 8, 8], patterns=holed())
    assert imputer.model_ is trained
    imputer.use_widths([4, 8, 8], complete(), patterns=holed())
    assert set(imputer.model_.heads) == {"crps"}


def test_steps_are_chosen_by_errors_at_cells_that_patterns_hide(historical: EDDPMImputer) -> None:
    with pytest.raises(InputError, match=r"target_strategy='historical' hid no cell.*patterns="):
        historical.respace("elbo", 2, complete())
    with pytest.raises(InputError, match="patterns: got data to hide cells of X, but no X"):
        historical.respace("uniform", 2, patterns=holed())
    assert len(historical.respace("elbo", 2, complete(), patterns=holed()).model_.grid) == 2


# ---- analytic variance --------------------------------------------------------------------------


def test_few_windows_are_enough_for_an_analytic_variance() -> None:
    options = TINY | {"kept_steps": 8, "batch_size": 2, "variance": "analytic"}
    imputer = EDDPMImputer(**options | {"epochs": None, "time_budget_s": 0.01}).fit(holed())
    assert not imputer.transform(holed()).isna().any().any()
    imputer.fit_variance(holed(), "analytic", n_batches=1)
    assert np.isfinite(imputer.model_.noise_power).all()
    assert not imputer.transform(holed()).isna().any().any()


# ---- which rows ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "from_held_out"), [("ggdm", True), ("tdas", False)])
def test_coefficients_are_fitted_on_rows_that_training_did_not_see(
    kind: str, from_held_out: bool
) -> None:
    data = holed(240)
    options = TINY | {"validation_fraction": 0.2, "variance": "fixed"}
    imputer = EDDPMImputer(**options).fit(data)
    (held,) = held_out_rows(read_panel(data).values, data_plan(imputer), imputer.seed_)
    assert 0.1 < held.mean() < 0.3

    def learned(changed: np.ndarray) -> np.ndarray:
        other = data.copy()
        other[changed] = 0.5 * other[changed] + 1.0
        model = copied(imputer).fit_sampler(other, kind, iterations=2).model_
        return model.spectrum if kind == "tdas" else model.ggdm.clean_weight

    unchanged = learned(np.zeros(240, dtype=bool))
    assert np.array_equal(learned(~held), unchanged) is from_held_out
    assert np.array_equal(learned(held), unchanged) is not from_held_out


def test_where_hardly_a_row_was_held_out_all_are_used() -> None:
    imputer = EDDPMImputer(**TINY | {"validation_fraction": 0.0, "variance": "fixed"})
    imputer.fit(holed(30)).fit_sampler(holed(30), iterations=2)
    assert not imputer.set_params(sampler="ggdm").transform(holed(30)).isna().any().any()


# ---- until when ---------------------------------------------------------------------------------


@contextmanager
def ctrl_c_after(n: int) -> Iterator[None]:
    """The user stops at the start of iteration n + 1 of a marginal head."""
    calls = [0]

    def stop(module: torch.nn.Module, *_: Any) -> None:
        calls[0] += isinstance(module, MarginalNetwork)
        if calls[0] > n:
            raise KeyboardInterrupt

    hook = register_module_forward_hook(stop)
    try:
        yield
    finally:
        hook.remove()


def test_ctrl_c_leaves_the_marginal_head_as_it_is_then(
    capsys: pytest.CaptureFixture[str],
) -> None:
    imputer = EDDPMImputer(**TINY | {"variance": "fixed"}).fit(holed())
    imputer.set_params(verbose=1)
    with ctrl_c_after(2):
        imputer.fit_marginals(holed(), iterations=1000)
    assert "stopped by the user after 2 of 1000 iterations" in capsys.readouterr().err
    assert not imputer.transform(holed(), method="head").isna().any().any()


def test_ctrl_c_before_the_first_iteration_leaves_no_head() -> None:
    imputer = EDDPMImputer(**TINY | {"variance": "fixed"}).fit(holed())
    with ctrl_c_after(0), pytest.raises(KeyboardInterrupt):
        imputer.fit_marginals(holed(), iterations=1000)
    assert imputer.model_.marginals is None


@pytest.mark.parametrize("value", ["no", 0, None])
def test_a_switch_is_true_or_false(historical: EDDPMImputer, value: Any) -> None:
    with pytest.raises(InputError, match=r"freeze_trunk=.*expected True or False"):
        historical.fit_marginals(holed(), freeze_trunk=value)
