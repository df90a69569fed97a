"""Pictures: they are drawn, hold what they should, and leave no global state."""

from __future__ import annotations

import sys
from itertools import pairwise

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


def _labels(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_imputation_draws_bands_only_in_the_holes(observed, quantiles, tmp_path):
    truth = observed.fillna(0.4)
    other = observed["a"].interpolate().bfill()
    path = tmp_path / "picture.png"
    ax = plotting.plot_imputation(
        observed, quantiles, "a", truth, {"linear": other}, units="ppm", path=path
    )
    assert path.stat().st_size > 1000
    expected = ["90% interval", "50% interval", "median", "linear", "held out", "observed"]
    assert _labels(ax) == expected
    assert ax.get_ylabel() == "a (ppm)"
    lines = {line.get_label(): line.get_ydata() for line in ax.get_lines()}
    holes = observed["a"].isna().to_numpy()
    np.testing.assert_array_equal(lines["median"][holes], 0.5)
    assert np.isnan(lines["median"][12:18]).all()
    assert lines["median"][19] == observed["a"].iloc[19]  # bands begin at the reading beside
    assert np.isfinite(lines["held out"]).sum() == holes.sum()


def test_imputation_takes_a_series_and_numbered_times(observed, quantiles):
    series = observed["b"].reset_index(drop=True)
    renamed = quantiles.assign_coords(time=series.index).sel(feature="b", drop=True)
    ax = plotting.plot_imputation(series, renamed)
    assert ax.get_xlabel() == "time"
    assert ax.get_ylabel() == "b"


@pytest.mark.parametrize(
    ("levels", "bands"),
    [
        ([0.05, 0.5, 0.95], ["90% interval"]),
        ([0.9, 0.5, 0.1, 0.025, 0.975], ["95% interval", "80% interval"]),
        ([0.5], []),
        ([0.05, 0.5, 0.9], []),
        (np.arange(1, 20) / 20, ["90% interval", "50% interval"]),
        ([0.01, 0.02, 0.1, 0.5, 0.9, 0.98, 0.99], ["98% interval", "80% interval"]),
    ],
)
def test_imputation_draws_the_bands_that_there_are(observed, quantiles, levels, bands):
    values = np.stack([np.full(observed.shape, level) for level in levels])
    asked = xarray.DataArray(
        values,
        dims=quantiles.dims,
        coords={name: quantiles[name] for name in ("time", "feature")} | {"quantile": levels},
    )
    ax = plotting.plot_imputation(observed, asked, "a")
    assert _labels(ax) == [*bands, "median", "observed"]
    for band, name in zip(ax.collections, bands, strict=True):
        width = float(name.split("%")[0]) / 100
        box = band.get_paths()[-1].vertices[:, 1]
        assert np.isclose(box, 0.5 - width / 2).any() and np.isclose(box, 0.5 + width / 2).any()


def test_imputation_names_what_is_wrong(observed, quantiles):
    with pytest.raises(InputError, match=r"feature: got None.*\['a', 'b'\]"):
        plotting.plot_imputation(observed, quantiles)
    with pytest.raises(InputError, match=r"levels \[0.25, 0.75\], expected also 0.5"):
        plotting.plot_imputation(observed, quantiles.sel(quantile=[0.25, 0.75]), "a")
    with pytest.raises(InputError, match="some times"):
        plotting.plot_imputation(observed, quantiles.isel(time=slice(30)), "a")
    with pytest.raises(InputError, match="one of the quantiles'"):
        plotting.plot_imputation(observed.rename(columns={"a": "c"}), quantiles, "c")


def test_a_series_is_drawn_with_its_gaps_shaded(observed):
    ax = plotting.plot_series(observed, "a", units="ppm")
    assert ax.get_ylabel() == "a (ppm)"
    assert _labels(ax) == ["gaps (30.0% of the rows)", "observed"]
    shaded = [path.get_extents() for path in ax.collections[0].get_paths()]
    days = [round(box.x1 - box.x0) for box in shaded]
    assert days == [1, 2, 11]  # from the reading before to the one after
    with pytest.raises(InputError, match="expected a column of data"):
        plotting.plot_series(observed, "c")


def test_readings_between_two_gaps_have_a_dot_in_a_long_series_too():
    values = np.sin(np.arange(600) / 9)
    values[[10, 12, 40]] = np.nan
    ax = plotting.plot_series(pd.Series(values))
    dots = ax.get_lines()[1].get_ydata()
    assert np.flatnonzero(np.isfinite(dots)).tolist() == [11]


def _missing_shares(ax) -> np.ndarray:
    return ax.collections[0].get_array().filled(np.nan)


def test_missingness_has_a_line_for_each_feature(observed):
    ax = plotting.plot_missingness(observed)
    np.testing.assert_array_equal(_missing_shares(ax), observed.isna().to_numpy().T)
    names = [text.get_text() for text in ax.get_yticklabels()]
    assert names == ["a  30.0%", "b  25.0%"]
    with pytest.raises(InputError, match="by='time'"):
        plotting.plot_missingness(observed, "time")


def test_missingness_of_long_data_is_drawn_in_bins_that_lose_no_cell():
    rng = np.random.default_rng(0)
    holes = rng.random((1003, 2)) < 0.3
    ax = plotting.plot_missingness(np.where(holes, np.nan, 1.0))
    shares = _missing_shares(ax)
    assert shares.shape == (2, 400)
    rows = np.histogram(np.arange(1003), ax.collections[0].get_coordinates()[0, :, 0])[0]
    np.testing.assert_allclose((shares * rows).sum(axis=1), holes.sum(axis=0))


def test_missingness_of_many_series_by_feature_and_by_series():
    short, long = pd.DataFrame({"a": [1, np.nan]}), pd.DataFrame({"a": [np.nan, 1, 1, np.nan]})
    both = pd.concat({"p": short, "q": long}, names=["series", "time"])
    by_feature = _missing_shares(plotting.plot_missingness(both))
    np.testing.assert_allclose(by_feature, [[0.5, 0.5, 0, 1]])
    by_series = _missing_shares(plotting.plot_missingness(both, "series"))
    np.testing.assert_array_equal(by_series, [[0, 1, np.nan, np.nan], [1, 0, 0, 1]])


def test_missingness_of_irregular_times_leaves_what_has_no_row_grey():
    table = pd.DataFrame({"a": [1, np.nan, 1, 1]}, index=[0, 1, 2, 5])
    shares = _missing_shares(plotting.plot_missingness(table))
    np.testing.assert_array_equal(shares, [[0, 1, 0, np.nan, np.nan, 0]])


def test_missingness_puts_many_series_on_few_lines():
    values = np.ones((250, 4, 1))
    values[3:6] = np.nan
    ax = plotting.plot_missingness(values, "series")
    shares = _missing_shares(ax)
    assert len(shares) == 84  # three series a line
    np.testing.assert_array_equal(shares[:3], [[0] * 4, [1] * 4, [0] * 4])
    assert len(ax.get_yticklabels()) <= 40


@pytest.mark.parametrize(
    "index",
    [
        pd.period_range("2020-01", periods=6, freq="M"),
        pd.date_range("2020-01-31", periods=6, freq="ME"),
        pd.date_range("2020-03-29", periods=6, freq="h", tz="Europe/Paris"),
        pd.timedelta_range("0h", periods=6, freq="h"),
        pd.Index(np.arange(6) / 4),
    ],
    ids=["periods", "month ends", "time zone", "spans", "numbers"],
)
def test_missingness_takes_every_kind_of_time(index):
    table = pd.DataFrame({"a": [1, np.nan, 1, 1, np.nan, 1]}, index=index)
    shares = _missing_shares(plotting.plot_missingness(table))
    np.testing.assert_array_equal(shares, [[0, 1, 0, 0, 1, 0]])


def test_step_schedule_highlights_the_kept_steps(schedule):
    ax = plotting.plot_step_schedule(schedule)
    _, signal = ax.get_figure().axes
    assert _labels(ax) == ["dropped step", "kept step (3)", "signal"]
    assert len(ax.patches) == 10
    assert signal.get_yscale() == "log"
    with pytest.raises(InputError, match=r"expected also \['kept'\]"):
        plotting.plot_step_schedule(schedule.drop(columns="kept"))


def test_step_schedule_marks_what_was_chosen_against_the_probabilities(schedule):
    schedule.loc[[2, 8], "kept"] = [True, False]
    ax = plotting.plot_step_schedule(schedule)
    assert {"kept, less likely", "dropped, likelier"} <= set(_labels(ax))
    lines = {line.get_label(): line.get_xdata().tolist() for line in ax.get_lines()}
    assert lines["kept, less likely"] == [2]
    bars = {b.get_label(): [p.get_x() + p.get_width() / 2 for p in b] for b in ax.containers}
    assert bars["dropped, likelier"] == pytest.approx([8])
    assert bars["dropped step"] == pytest.approx([0, 1, 3, 4, 5, 6])


def test_equally_likely_steps_are_not_marked(schedule):
    schedule["keep_prob"] = 1.0
    labels = _labels(plotting.plot_step_schedule(schedule))
    assert labels == ["dropped step", "kept step (3)", "signal"]


def test_keep_prob_history(tmp_path):
    history = np.random.default_rng(0).random((6, 10))
    path = tmp_path / "picture.svg"
    ax = plotting.plot_keep_prob_history(history, np.arange(0, 60, 10), path=path)
    assert path.read_text(encoding="utf-8").startswith("<?xml")
    assert ax.get_xlabel() == "epoch"
    (mesh,) = ax.collections
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
    ax = plotting.plot_loss_curves(pd.DataFrame(columns))
    assert [len(line.get_xdata()) for line in ax.get_lines()] == [4, 2]
    assert _labels(ax) == ["training", "validation"]


def test_quality_draws_a_line_for_each_method_on_given_axes():
    from matplotlib.figure import Figure

    table = pd.DataFrame(
        {"n_steps": [50, 5, 5, 50], "crps": [0.2, 0.4, 0.6, 0.3], "method": ["a", "a", "b", "b"]}
    )
    given = Figure()
    left, right = given.subplots(1, 2)
    assert plotting.plot_quality(table, "n_steps", "crps", "method", ax=right) is right
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
    ax = plotting.plot_speed_quality(_survey(), path=path)
    assert path.stat().st_size > 1000
    assert ax.get_xscale() == "log"
    lines = {line.get_label(): line.get_xdata().tolist() for line in ax.get_lines()}
    assert lines["ddpm, fixed"] == [8, 40]  # (5, 16) is dearer and worse than (5, 8)
    assert lines["ddim, npr"] == [24]
    assert lines["Pareto front"] == [8, 24]
    assert [text.get_text() for text in ax.texts] == ["1 × 8", "3 × 8"]
    assert len(ax.get_lines()[0].get_xdata()) == 4  # every setting is a dot
    assert _labels(ax) == ["ddpm, fixed", "ddim, npr", "Pareto front"]
    with pytest.raises(InputError, match=r"expected also \['pareto'\]"):
        plotting.plot_speed_quality(_survey().drop(columns="pareto"))


def test_step_importance_is_a_bar_in_per_cent_at_each_step():
    table = pd.DataFrame({"change": [-0.01, 0.5]}, index=pd.Index([4, 40], name="step"))
    ax = plotting.plot_step_importance(table)
    assert [bar.get_height() for bar in ax.patches] == pytest.approx([-1, 50])
    assert [bar.get_x() + bar.get_width() / 2 for bar in ax.patches] == pytest.approx([4, 40])
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


@pytest.mark.parametrize(("n_settings", "inside"), [(3, True), (9, False)])
def test_many_names_of_settings_stand_beside_the_curves(n_settings: int, inside: bool) -> None:
    names = [f"setting {i}" for i in range(n_settings)]
    table = pd.DataFrame({"cost": range(1, n_settings + 1), "crps": 0.2, "setting": names})
    ax = plotting.plot_quality(table, "cost", "crps", "setting")
    ax.figure.draw_without_rendering()
    end = ax.get_legend().get_window_extent().x1
    assert bool(end <= ax.get_window_extent().x1) is inside


@pytest.mark.parametrize("n_methods", [2, 9])
def test_labels_of_costs_do_not_lie_on_each_other(n_methods):
    costs = [1, 16, 17, 32, 48, 64, 80, 800]
    methods = [f"a method with a long name, {i % n_methods}" for i in range(len(costs) * 2)]
    table = pd.DataFrame({"cost": costs * 2, "crps": 1.0, "method": methods})
    ax = plotting.plot_quality(table, "cost", "crps", "method")
    ax.figure.draw_without_rendering()
    boxes = [label.get_window_extent() for label in ax.get_xticklabels()]
    assert len(boxes) > 3
    for left, right in pairwise(boxes):
        assert right.x0 - left.x1 > left.height / 4


def test_a_table_without_rows_is_an_empty_picture():
    table = pd.DataFrame({"cost": [], "crps": [], "method": []})
    assert not plotting.plot_quality(table, "cost", "crps", "method").get_lines()
