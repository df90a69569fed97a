"""Ways to ask a fitted imputer: samplers, variances, the marginal head, coupled samples."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tsimpute import EDDPMImputer
from tsimpute.errors import InputError
from tsimpute.methods import FITTED_SAMPLERS, SAMPLER_NAMES

LEVELS = (0.001, 0.05, 0.25, 0.5, 0.75, 0.95, 0.999)


def _table():
    t = np.arange(120)
    rng = np.random.default_rng(0)
    noise = rng.normal(scale=0.2, size=(120, 2))
    df = pd.DataFrame({"x": np.sin(t / 5), "y": np.cos(t / 7)}) + noise
    return df.mask(rng.random(df.shape) < 0.2)


@pytest.fixture(scope="module")
def imputer():
    settings = {"window_steps": 12, "kept_steps": 3, "n_samples": 8, "epochs": 2, "channels": 8}
    small = {"diffusion_steps": 10, "layers": 1, "heads": 2, "random_state": 0, "verbose": 0}
    fitted = EDDPMImputer(**settings, **small, device="cpu").fit(_table())
    fitted.fit_variance(_table(), n_batches=20).fit_variance(
        _table(), "npr", n_batches=20
    ).fit_variance(_table(), "sn", n_batches=20)
    return fitted.fit_variance(_table(), "analytic").fit_marginals(_table(), iterations=60)


@pytest.fixture
def changed(imputer):
    """Give the imputer other parameters for one test."""
    before = imputer.get_params()
    yield imputer.set_params
    imputer.set_params(**before)


def _holes(array):
    return array[:, _table().isna().to_numpy()]


@pytest.mark.parametrize("variance", ["large", "analytic", "crps", "npr", "sn"])
def test_a_known_variance_widens_the_intervals(imputer, variance):
    plain = imputer.predict_quantiles(_table(), LEVELS, variance="fixed").values
    wider = imputer.predict_quantiles(_table(), LEVELS, variance=variance).values
    assert np.all(np.diff(wider, axis=0) >= 0)
    assert np.mean(_holes(wider)[-1] - _holes(wider)[0]) > np.mean(
        _holes(plain)[-1] - _holes(plain)[0]
    )


def test_quantiles_of_the_mixture_are_those_of_many_samples(imputer, changed):
    changed(overlap=0.0)
    few = imputer.predict_quantiles(_table(), LEVELS[1:-1], n_samples=200, variance="npr").values
    drawn = np.quantile(imputer.sample(_table(), 600, variance="npr"), LEVELS[1:-1], axis=0)
    assert np.mean(np.abs(_holes(few) - _holes(drawn))) < 0.1


def test_the_median_of_transform_is_that_of_the_quantiles(imputer):
    for choice in ({"variance": "npr"}, {"method": "head"}):
        filled = imputer.transform(_table(), **choice)
        middle = imputer.predict_quantiles(_table(), [0.5], **choice)[0]
        np.testing.assert_allclose(filled.to_numpy(), middle.values)


def test_quantiles_may_come_from_antithetic_samples_but_samples_are_independent(imputer, changed):
    one = imputer.predict_quantiles(_table(), n_samples=6)
    samples = imputer.sample(_table(), 6)
    changed(antithetic=False)
    assert not one.equals(imputer.predict_quantiles(_table(), n_samples=6))
    assert samples.equals(imputer.sample(_table(), 6))


def test_the_head_needs_no_samples_and_no_seed(imputer):
    one = imputer.predict_quantiles(_table(), LEVELS, method="head", random_state=1)
    two = imputer.predict_quantiles(_table(), LEVELS, method="head", n_samples=1, random_state=2)
    assert one.equals(two)
    assert np.all(np.diff(_holes(one.values), axis=0) > 0)
    observed = _table().notna().to_numpy()
    assert np.array_equal(one.values[:, observed][3], _table().to_numpy()[observed])


def test_the_head_as_default(imputer, changed):
    expected = imputer.transform(_table(), method="head")
    changed(method="head")
    pd.testing.assert_frame_equal(imputer.transform(_table()), expected)
    assert imputer.score(_table()) > -2


def test_coupled_samples_have_the_marginals_of_the_head(imputer):
    """Where windows do not overlap, exactly: blending two windows is the only thing in between."""
    table = _table().iloc[:12]
    coupled = imputer.sample(table, 5, marginals="head").values
    levels = [(i + 0.5) / 5 for i in range(5)]
    wanted = imputer.predict_quantiles(table, levels, method="head").values
    np.testing.assert_allclose(np.sort(coupled, axis=0), wanted, atol=1e-5)
    ranks = imputer.sample(table, 5).values.argsort(0)[:, table.isna().to_numpy()]
    assert np.array_equal(coupled.argsort(0)[:, table.isna().to_numpy()], ranks)


def test_a_start_at_the_marginals_changes_the_samples(imputer, changed):
    before = imputer.sample(_table(), 4)
    changed(start="marginals")
    after = imputer.sample(_table(), 4)
    assert not after.equals(before)
    assert np.isfinite(after.values).all()


def test_marginals_survive_pruning_and_variance_is_learned_again(imputer):
    other = EDDPMImputer(**imputer.get_params())._adopt(imputer.model_, imputer.seed_)
    other.set_params(variance="npr").prune(_table(), kept_steps=2)
    assert other.model_.marginals is not None
    assert list(other.model_.heads) == ["npr"]
    assert np.isfinite(other.transform(_table()).to_numpy()).all()


@pytest.mark.parametrize("sampler", SAMPLER_NAMES)
def test_every_sampler_fills_every_hole(imputer, sampler):
    if sampler in FITTED_SAMPLERS:
        imputer.fit_sampler(_table(), sampler, iterations=2)
    choice = {"sampler": sampler, "variance": "fixed"}
    found = imputer.predict_quantiles(_table(), **choice).values
    assert np.isfinite(found).all()
    assert np.all(np.diff(found, axis=0) >= 0)
    low, high = np.nanmin(_table(), axis=0), np.nanmax(_table(), axis=0)
    assert np.all((found >= low - 0.3 * (high - low)) & (found <= high + 0.3 * (high - low)))
    if sampler != "ddpm":
        plain = imputer.predict_quantiles(_table(), variance="fixed").values
        assert not np.array_equal(found, plain)


@pytest.mark.parametrize("sampler", ["ggdm", "genie-distilled"])
def test_some_samplers_take_no_variance(imputer, sampler):
    with pytest.raises(InputError, match=f"variance='npr' cannot be used with sampler='{sampler}'"):
        imputer.sample(_table(), 2, sampler=sampler, variance="npr")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"sampler": "ddmp"}, "sampler='ddmp' is unknown; expected one of .* mean 'ddpm'"),
        ({"variance": "nrp"}, "variance='nrp' is unknown; expected one of .* mean 'npr'"),
        ({"start": "middle"}, "start='middle' is unknown; expected one of"),
        ({"method": "heads"}, "method='heads' is unknown.* mean 'head'"),
    ],
)
def test_unknown_names_are_refused_before_training(parameters, message):
    with pytest.raises(InputError, match=message):
        EDDPMImputer(**parameters, verbose=0).fit(_table())


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"variance": "npr"}, "variance='npr' needs a head .* call fit_variance"),
        ({"variance": "analytic"}, "variance='analytic' needs numbers .* call fit_variance"),
        ({"sampler": "ggdm", "variance": "fixed"}, "sampler='ggdm' needs .* call fit_sampler"),
        ({"sampler": "genie-distilled", "variance": "fixed"}, "needs a head .* call fit_sampler"),
        ({"sampler": "tdas"}, "sampler='tdas' needs a temporal spectrum .* call fit_sampler"),
        ({"method": "head"}, "method='head' needs a marginal head.* call fit_marginals"),
    ],
)
def test_what_a_model_lacks_is_named_with_how_to_get_it(imputer, choice, message):
    model = imputer.model_
    bare = EDDPMImputer(**imputer.get_params())
    bare._adopt(
        type(model)(
            **{
                **vars(model),
                "heads": {},
                "noise_power": None,
                "marginals": None,
                "ggdm": None,
                "spectrum": None,
            }
        ),
        0,
    )
    with pytest.raises(InputError, match=message):
        bare.predict_quantiles(_table(), **choice)
    with pytest.raises(InputError, match="marginals='head' needs a marginal head"):
        bare.sample(_table(), 2, marginals="head")
    with pytest.raises(InputError, match="kind='fixed' is unknown; expected one of"):
        bare.fit_variance(_table(), "fixed")
