"""Ways to ask a fitted imputer: samplers, variances, the marginal head, coupled samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from tsimpute import EDDPMImputer, load
from tsimpute.errors import InputError
from tsimpute.sampling import inference, prepared
from tsimpute.sampling.batching import Question, quantiles_together
from tsimpute.sampling.choices import Choice, check_choices, way_for
from tsimpute.sampling.coupling import even_levels
from tsimpute.sampling.methods import (
    FITTED_SAMPLERS,
    OWN_READING,
    SAMPLER_NAMES,
    VARIANCES,
    known_name,
)
from tsimpute.settings import DEFAULT_VARIANCE

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


def test_the_head_does_not_depend_on_its_batches(imputer, monkeypatch):
    together = imputer.predict_quantiles(_table(), LEVELS, method="head").values
    monkeypatch.setattr(inference, "HEAD_BYTES", 1)  # one window at a time
    alone = imputer.predict_quantiles(_table(), LEVELS, method="head").values
    np.testing.assert_allclose(alone, together, atol=1e-5)
    monkeypatch.undo()
    monkeypatch.setattr(prepared, "ACTIVATION_BYTES", {"cpu": 1})  # all of them, side by side
    apart = imputer.predict_quantiles(_table(), LEVELS, method="head").values
    np.testing.assert_allclose(apart, together, atol=1e-5)


def test_the_head_as_default(imputer, changed):
    expected = imputer.transform(_table(), method="head")
    changed(method="head")
    pd.testing.assert_frame_equal(imputer.transform(_table()), expected)
    assert imputer.score(_table()) > -2


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("mode", ["offline", "online"])
def test_coupled_samples_have_the_marginals_of_the_head(imputer, changed, overlap, mode):
    """Exactly, in every window and where windows overlap; their ranks are those of the samples."""
    changed(overlap=overlap, mode=mode)
    table = _table().iloc[:60]
    coupled = imputer.sample(table, 9, marginals="head").values
    wanted = imputer.predict_quantiles(table, even_levels(9), method="head").values
    np.testing.assert_allclose(np.sort(coupled, axis=0), wanted, rtol=1e-12)
    order = imputer.sample(table, 9).values.argsort(0, kind="stable")
    assert np.all(np.diff(np.take_along_axis(coupled, order, 0), axis=0) >= 0)


@pytest.mark.parametrize("draw", ["sample", "multiple_impute"])
def test_joint_samples_do_not_come_from_the_head(imputer, changed, draw):
    changed(method="head")  # not read where samples are asked for
    plain = getattr(imputer, draw)(_table(), 2)
    named = getattr(imputer, draw)(_table(), 2, method="samples")
    np.testing.assert_array_equal(np.array(named), np.array(plain))
    with pytest.raises(InputError, match=r"method='head' describes each cell alone .*='head'"):
        getattr(imputer, draw)(_table(), 2, method="head")
    with pytest.raises(InputError, match=r"method='haed' is unknown.* mean 'head'"):
        getattr(imputer, draw)(_table(), 2, method="haed")


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


def test_a_temporal_spectrum_survives_pruning(imputer):
    other = EDDPMImputer(**imputer.get_params())._adopt(imputer.model_, imputer.seed_)
    other.fit_sampler(_table(), "tdas").set_params(variance="fixed").prune(_table(), kept_steps=2)
    assert np.isfinite(other.transform(_table(), sampler="tdas").to_numpy()).all()


@pytest.mark.parametrize("sampler", OWN_READING)
def test_pruning_is_refused_before_training_if_a_calibration_would_lack_its_sampler(
    imputer, changed, sampler, monkeypatch
):
    monkeypatch.setattr("tsimpute.fitting.fit.fine_tune", None)
    changed(sampler=sampler, calibrate=True)
    with pytest.raises(InputError, match=f"calibrate=True cannot be used with sampler='{sampler}'"):
        imputer.prune(_table(), kept_steps=2)


def test_what_survives_pruning_can_be_calibrated_then(imputer, changed):
    imputer.fit_sampler(_table(), "tdas")
    for kept in ({"method": "head"}, {"start": "marginals"}, {"sampler": "tdas"}):
        changed(**{"method": "samples", "start": "noise", "calibrate": True, **kept})
        check_choices(imputer, imputer.model_)
        with pytest.raises(InputError, match="calibrate=True cannot be used with"):
            check_choices(imputer)


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
    if sampler != imputer.sampler:
        plain = imputer.predict_quantiles(_table(), variance="fixed").values
        assert not np.array_equal(found, plain)


@pytest.mark.parametrize("sampler", SAMPLER_NAMES)
def test_answers_do_not_depend_on_the_number_of_threads(imputer, sampler, monkeypatch):
    if sampler in FITTED_SAMPLERS:
        imputer.fit_sampler(_table(), sampler, iterations=1)
    monkeypatch.setattr(prepared, "ACTIVATION_BYTES", {"cpu": 2**17})  # many parts
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(imputer.sample(_table(), 7, sampler=sampler, variance="fixed").values)
    finally:
        torch.set_num_threads(before)
    np.testing.assert_allclose(*found, atol=1e-5)


@pytest.mark.parametrize("sampler", OWN_READING)
def test_some_samplers_take_no_variance(imputer, changed, sampler, monkeypatch):
    message = f"variance='npr' cannot be used with sampler='{sampler}'"
    with pytest.raises(InputError, match=message):
        imputer.sample(_table(), 2, sampler=sampler, variance="npr")
    with pytest.raises(InputError, match=message.replace("npr", "crps")):
        imputer.transform(_table(), sampler=sampler, variance="crps")  # named, though the default
    with pytest.raises(InputError, match=message):
        changed(variance="npr").transform(_table(), sampler=sampler)
    monkeypatch.setattr("tsimpute.fitting.fit.train_from_scratch", None)
    with pytest.raises(InputError, match=message):
        EDDPMImputer(sampler=sampler, variance="npr", verbose=0).fit(_table())


@pytest.mark.parametrize("sampler", OWN_READING)
def test_the_default_variance_makes_way_for_a_sampler_that_takes_none(imputer, changed, sampler):
    assert imputer.variance == EDDPMImputer().variance == DEFAULT_VARIANCE
    imputer.fit_sampler(_table(), sampler, iterations=2)
    named = imputer.predict_quantiles(_table(), sampler=sampler, variance="fixed")
    assert imputer.predict_quantiles(_table(), sampler=sampler).equals(named)
    changed(sampler=sampler)
    check_choices(imputer)
    assert imputer.predict_quantiles(_table()).equals(named)
    assert way_for(imputer, Choice())["variance"] == "fixed"
    (found,) = quantiles_together(imputer, [Question(_table(), [0.05, 0.95])])
    np.testing.assert_allclose(found, named.values[[0, 2]], rtol=1e-5, atol=1e-5)


# ----------------------------------------------------------------------------- ddim, by its noise


def test_ddim_goes_from_no_noise_to_all_of_it(imputer):
    choice = {"n_samples": 4, "variance": "fixed"}
    none, some, all_of_it = (
        imputer.sample(_table(), sampler=f"ddim({eta})", **choice) for eta in ("0", ".5", "1.")
    )
    assert none.equals(imputer.sample(_table(), sampler="ddim", **choice))
    plain = imputer.sample(_table(), sampler="ddpm", **choice)
    np.testing.assert_allclose(all_of_it, plain, rtol=1e-4, atol=1e-4)
    for other in (none, all_of_it):
        assert np.abs(_holes(some.values) - _holes(other.values)).max() > 1e-3


def test_ddim_with_some_noise_is_fitted_calibrated_and_saved(imputer, changed, tmp_path):
    changed(sampler="ddim(0.50)", variance="fixed")
    check_choices(imputer)
    named = imputer.predict_quantiles(_table(), sampler="ddim(0.5)", variance="fixed")
    assert imputer.predict_quantiles(_table()).equals(named)
    assert way_for(imputer, Choice())["sampler"] == "ddim(0.5)"
    again = load(imputer.save(tmp_path / "model"), device="cpu")
    assert again.predict_quantiles(_table()).equals(named)
    (found,) = quantiles_together(imputer, [Question(_table(), [0.5])])
    np.testing.assert_allclose(found[0], named.values[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("eta", ["1.1", "-0.1", "nan", "half", ""])
def test_an_eta_outside_its_range_is_refused_before_training(eta):
    with pytest.raises(InputError, match=rf"sampler='ddim\({eta}\)' cannot be used; .* 0 .* 1 "):
        EDDPMImputer(sampler=f"ddim({eta})", verbose=0).fit(_table())


# ------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"sampler": "nope"}, "sampler='nope' is unknown"),
        ({"variance": "nope"}, "variance='nope' is unknown"),
        ({"sampler": "ddim"}, "sampler='ddim' cannot be used with method='head'.* leave it out"),
        ({"variance": "fixed"}, "variance='fixed' cannot be used with method='head'"),
        ({"n_samples": -3}, "n_samples=-3 cannot be used"),
    ],
)
def test_a_call_to_the_head_takes_nothing_that_the_head_does_not_read(imputer, choice, message):
    with pytest.raises(InputError, match=message):
        imputer.predict_quantiles(_table(), method="head", **choice)
    with pytest.raises(InputError, match=message):
        imputer.explain_cells(_table(), method="head", **choice)
    if "n_samples" not in choice:
        with pytest.raises(InputError, match=message):
            imputer.transform(_table(), method="head", **choice)


def test_an_imputer_that_asks_its_head_does_not_care_for_its_sampler(imputer, changed):
    wanted = imputer.predict_quantiles(_table(), [0.5], method="head").values[0]
    changed(method="head", sampler="ggdm", variance="fixed")
    imputer.model_ = replace(imputer.model_, ggdm=None)
    (found,) = quantiles_together(imputer, [Question(_table(), [0.5])])
    np.testing.assert_allclose(found[0], wanted)
    cells = imputer.explain_cells(_table(), missing_only=True)
    np.testing.assert_allclose(cells["value"], wanted[_table().isna().to_numpy()])


@pytest.mark.parametrize("n_samples", [True, 2.0, "4", 0])
def test_a_number_of_samples_is_a_whole_number(imputer, n_samples):
    with pytest.raises(InputError, match=r"n_samples=.* a whole number of at least 1"):
        imputer.sample(_table(), n_samples)


@pytest.mark.parametrize(
    ("given", "names", "meant"),
    [
        ("DDIM", SAMPLER_NAMES, "ddim"),
        ("UniPC", SAMPLER_NAMES, "unipc"),
        (" ddpm ", SAMPLER_NAMES, "ddpm"),
        ("NPR", VARIANCES, "npr"),
        ("kalman", ("linear", "Kalman"), "Kalman"),
    ],
)
def test_a_name_in_other_letters_is_told_the_right_ones(given, names, meant):
    with pytest.raises(InputError, match=f"did you mean '{meant}'"):
        known_name("name", given, names)


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
        ({"sampler": "ggdm"}, "'ggdm' needs coefficients for its present steps.* call fit_sampler"),
        ({"sampler": "genie-distilled"}, "needs a head for its present network.* call fit_sampler"),
        ({"sampler": "tdas"}, "sampler='tdas' needs a temporal spectrum.* call fit_sampler"),
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
