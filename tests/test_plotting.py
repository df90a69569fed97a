"""Pictures: they are drawn, hold what they should, and leave no global state."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
import xarray

from tsimpute import plotting
from tsimpute.errors import InputError, MissingExtraError

matplotlib = pytest.importorskip("matplotlib")

LEVELS = [0.05, 0.25, 0.5, 0.75, 0.95]


@pytest.fixture
def observed() -> pd.DataFrame:
    times = pd.date_range("2020-01-01", periods=40, freq="D")
    waves = np.sin(np.arange(40) / 5)
    table = pd.DataFrame({"a": waves, "b": 3 * waves}, index=times)
    table.iloc[[0, 7], 0] = np.nan
    table.iloc[20:30] = np.nan
    return table


@pytest.fixture
def quantiles(observed) -> xarray.DataArray:
    values = np.stack([np.full(observed.shape, level) for level in LEVELS])
    coords = {"quantile": LEVELS, "time": observed.index, "feature": list(observed.columns)}
    return xarray.DataArray(values, dims=("quantile", "time", "feature"), coords=coords)


@pytest.fixture
def schedule() -> pd.DataFrame:
    columns = {"keep_prob": np.linspace(0.1, 1, 10), "kept": np.arange(10) > 6}
    return pd.DataFrame({**columns, "alpha_bar": np.geomspace(1, 1e-4, 10)})


def _labels(axes) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_imputation_draws_bands_only_in_the_holes(observed, quantiles, tmp_path):
    truth = observed.fillna(0.4)
    other = observed["a"].interpolate().bfill()
    path = tmp_path / "picture.png"
    figure = plotting.plot_imputation(
        observed, quantiles, "a", truth, {"linear": other}, units="ppm", path=path
    )
    (axes,) = figure.axes
    assert path.stat().st_size > 1000
    expected = ["90% interval", "50% interval", "median", "linear", "held out", "observed"]
    assert _labels(axes) == expected
    assert axes.get_ylabel() == "a (ppm)"
    lines = {line.get_label(): line.get_ydata() for line in axes.get_lines()}
    holes = observed["a"].isna().to_numpy()
    np.testing.assert_array_equal(lines["median"][holes], 0.5)
    assert np.isnan(lines["median"][12:18]).all()
    assert lines["median"][19] == observed["a"].iloc[19]  # bands begin at the reading beside
    assert np.isfinite(lines["held out"]).sum() == holes.sum()


def test_imputation_takes_a_series_and_numbered_times(observed, quantiles):
    series = observed["b"].reset_index(drop=True)
    renamed = quantiles.assign_coords(time=series.index).sel(feature="b", drop=True)
    figure = plotting.plot_imputation(series, renamed)
    assert figure.axes[0].get_xlabel() == "time"
    assert figure.axes[0].get_ylabel() == "b"


def test_imputation_names_what_is_wrong(observed, quantiles):
    with pytest.raises(InputError, match=r"feature: got None.*\['a', 'b'\]"):
        plotting.plot_imputation(observed, quantiles)
    with pytest.raises(InputError, match=r"expected also \[0.05, 0.95\]"):
        plotting.plot_imputation(observed, quantiles.sel(quantile=[0.25, 0.5, 0.75]), "a")
    with pytest.raises(InputError, match="some times"):
        plotting.plot_imputation(observed, quantiles.isel(time=slice(30)), "a")
    with pytest.raises(InputError, match="one of the quantiles'"):
        plotting.plot_imputation(observed.rename(columns={"a": "c"}), quantiles, "c")


def test_step_schedule_highlights_the_kept_steps(schedule):
    figure = plotting.plot_step_schedule(schedule)
    axes, signal = figure.axes
    assert _labels(axes) == ["dropped step", "kept step (3)", "signal"]
    assert len(axes.patches) == 10
    assert signal.get_yscale() == "log"
    with pytest.raises(InputError, match=r"expected also \['kept'\]"):
        plotting.plot_step_schedule(schedule.drop(columns="kept"))


def test_keep_prob_history(tmp_path):
    history = np.random.default_rng(0).random((6, 10))
    path = tmp_path / "picture.svg"
    figure = plotting.plot_keep_prob_history(history, np.arange(0, 60, 10), path=path)
    assert path.read_text(encoding="utf-8").startswith("<?xml")
    assert figure.axes[0].get_xlabel() == "epoch"
    (mesh,) = figure.axes[0].collections
    np.testing.assert_array_equal(mesh.get_array(), history.T)
    with pytest.raises(InputError, match="records: got shape"):
        plotting.plot_keep_prob_history(history, [1, 2])
    with pytest.raises(InputError, match="history: got shape"):
        plotting.plot_keep_prob_history(history[0])


def test_loss_curves_skip_epochs_without_validation():
    columns = {
        "epoch": range(4),
        "train_loss": [4.0, 3, 2, 1],
        "validation_loss": [5.0, np.nan] * 2,
    }
    figure = plotting.plot_loss_curves(pd.DataFrame(columns))
    assert [len(line.get_xdata()) for line in figure.axes[0].get_lines()] == [4, 2]
    assert _labels(figure.axes[0]) == ["training", "validation"]


def test_quality_draws_a_line_for_each_method_on_given_axes():
    from matplotlib.figure import Figure

    table = pd.DataFrame(
        {"n_steps": [50, 5, 5, 50], "crps": [0.2, 0.4, 0.6, 0.3], "method": ["a", "a", "b", "b"]}
    )
    given = Figure()
    left, right = given.subplots(1, 2)
    assert plotting.plot_quality(table, "n_steps", "crps", "method", axes=right) is given
    assert len(left.get_lines()) == 0
    assert [line.get_xdata().tolist() for line in right.get_lines()] == [[5, 50], [5, 50]]
    assert right.get_xscale() == "log"
    with pytest.raises(InputError, match="above 0"):
        plotting.plot_quality(table.assign(n_steps=0), "n_steps", "crps", "method")


def _survey() -> pd.DataFrame:
    columns = {
        "sampler": ["ddpm", "ddpm", "ddpm", "ddim"],
        "variance": ["fixed", "fixed", "fixed", "npr"],
        "steps": [1, 5, 5, 3],
        "n_samples": [8, 8, 16, 8],
        "nfe_per_window": [8, 40, 80, 24],
        "crps": [0.6, 0.5, 0.55, 0.3],
    }
    return pd.DataFrame({**columns, "pareto": [True, False, False, True]})


def test_speed_quality_rings_the_front_and_draws_each_methods_own_best(tmp_path):
    path = tmp_path / "picture.png"
    figure = plotting.plot_speed_quality(_survey(), path=path)
    (axes,) = figure.axes
    assert path.stat().st_size > 1000
    assert axes.get_xscale() == "log"
    lines = {line.get_label(): line.get_xdata().tolist() for line in axes.get_lines()}
    assert lines["ddpm, fixed"] == [8, 40]  # (5, 16) is dearer and worse than (5, 8)
    assert lines["ddim, npr"] == [24]
    assert lines["Pareto front"] == [8, 24]
    assert [text.get_text() for text in axes.texts] == ["1 × 8", "3 × 8"]
    assert len(axes.get_lines()[0].get_xdata()) == 4  # every setting is a dot
    assert _labels(axes) == ["ddpm, fixed", "ddim, npr", "Pareto front"]
    with pytest.raises(InputError, match=r"expected also \['pareto'\]"):
        plotting.plot_speed_quality(_survey().drop(columns="pareto"))


def test_step_importance_is_a_bar_in_per_cent_at_each_step():
    table = pd.DataFrame({"change": [-0.01, 0.5]}, index=pd.Index([4, 40], name="step"))
    (axes,) = plotting.plot_step_importance(table).axes
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([-1, 50])
    assert [bar.get_x() + bar.get_width() / 2 for bar in axes.patches] == pytest.approx([4, 40])
    with pytest.raises(InputError, match=r"expected also \['change'\]"):
        plotting.plot_step_importance(pd.DataFrame({"step": [1]}))


def _report() -> pd.DataFrame:
    rows = [
        {
            "by": by,
            "group": group,
            "level": level,
            "calibrated": kind,
            "coverage": level + 0.1 * kind,
        }
        for by, group in (("all", "all"), ("feature", "a"), ("feature", "b"), ("distance", "1"))
        for kind in (False, True)
        for level in (0.9, 0.5)
    ]
    return pd.DataFrame(rows)


def test_reliability_has_a_line_before_and_after_and_one_for_each_feature(tmp_path):
    from matplotlib.figure import Figure

    given = Figure().add_subplot()
    assert plotting.plot_reliability(_report(), ax=given) is given
    assert _labels(given) == ["features", "as predicted", "calibrated"]
    lines = {line.get_label(): line for line in given.get_lines()}
    assert lines["as predicted"].get_xdata().tolist() == [0.5, 0.9]
    np.testing.assert_allclose(lines["calibrated"].get_ydata(), [0.6, 1.0])
    assert len(given.get_lines()) == 5  # the diagonal, two features, two lines over all
    path = tmp_path / "picture.png"
    raw = plotting.plot_reliability(_report().query("not calibrated"), path=path)
    assert _labels(raw) == ["features", "as predicted"] and path.stat().st_size > 1000
    with pytest.raises(InputError, match=r"expected also \['coverage'\]"):
        plotting.plot_reliability(_report().drop(columns="coverage"))
    with pytest.raises(InputError, match="no row with by='all'"):
        plotting.plot_reliability(_report().query("by == 'feature'"))


def test_no_global_figure_is_left(schedule):
    plotting.plot_step_schedule(schedule)
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []


def test_without_matplotlib_the_extra_is_named(schedule, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"tsimpute\[plot\]"):
        plotting.plot_step_schedule(schedule)
