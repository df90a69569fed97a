"""Official checkpoints: names, files, and the predictions of the original network."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tsimpute import EDDPMImputer
from tsimpute.denoiser.config import DenoiserConfig
from tsimpute.denoiser.csdi import CSDIDenoiser
from tsimpute.denoiser.csdi_weights import name_pairs, read_csdi_file, translate
from tsimpute.errors import ModelFileError
from tsimpute.sampling.coupling import even_levels


def _official(make_pair, **size):
    return dict(make_pair(3, **size)[1].state_dict())


# ---------------------------------------------------------------------------------------- official


def _official_network(path):
    network = CSDIDenoiser(DenoiserConfig(n_features=35))
    network.load_state_dict(translate(read_csdi_file(path)))
    return network.eval()


def test_official_weights_predict_as_the_original(data_dir):
    folder = data_dir / "csdi_pretrained"
    network = _official_network(folder / "model_state.npz")
    state = np.random.RandomState(7)  # what the stored numbers were made with
    x0 = state.randn(2, 35, 48).astype("f4")
    cond_mask = state.rand(2, 35, 48) < 0.3
    noisy = state.randn(2, 35, 48).astype("f4")
    parts = (torch.from_numpy(part).transpose(1, 2) for part in (x0, cond_mask, noisy))
    values, given_mask, x = parts
    with np.load(folder / "eps_reference.npz") as reference:
        for name in ("eps_0", "eps_7", "eps_24", "eps_49"):
            step = torch.full((2,), float(name.removeprefix("eps_")))
            with torch.no_grad():
                predicted = network(x, values * given_mask, given_mask, step)
            expected = torch.from_numpy(reference[name]).transpose(1, 2)
            torch.testing.assert_close(predicted, expected, rtol=0, atol=1e-5)


def test_the_two_official_files_hold_the_same(data_dir):
    folder = data_dir / "csdi_pretrained"
    pickled, plain = (read_csdi_file(folder / name) for name in ("model.pth", "model_state.npz"))
    assert len(plain) == 139
    assert sum(tensor.numel() for tensor in plain.values()) == 414_065
    assert pickled.keys() == plain.keys()
    assert all(torch.equal(pickled[name], plain[name]) for name in plain)


# ------------------------------------------------------------------------------------------ names


@pytest.mark.parametrize("layers", [1, 4])
def test_every_official_name_has_one_of_ours(make_pair, layers):
    pairs = name_pairs(layers)
    assert len(pairs) == 11 + 32 * layers
    network, twin = make_pair(3, layers=layers)
    assert set(pairs) == set(twin.state_dict())
    assert sorted(pairs.values()) == sorted(network.state_dict())


def test_translation_keeps_every_number(make_pair):
    official = _official(make_pair)
    for theirs, ours in name_pairs(2).items():
        tensor = translate(official)[ours]
        assert tensor.dtype == torch.float32
        assert tensor.is_contiguous()
        assert torch.equal(tensor.flatten(), official[theirs].flatten())


def test_translation_takes_other_precisions(make_pair):
    official = {name: tensor.double() for name, tensor in _official(make_pair).items()}
    assert {tensor.dtype for tensor in translate(official).values()} == {torch.float32}


def test_translation_names_what_is_missing(make_pair):
    official = _official(make_pair)
    del official["diffmodel.residual_layers.1.mid_projection.bias"]
    with pytest.raises(ModelFileError, match=r"of 2 layers: missing .*1\.mid_projection\.bias"):
        translate(official)


def test_translation_names_what_is_unknown(make_pair):
    official = _official(make_pair) | {"decoder.weight": torch.zeros(1)}
    with pytest.raises(ModelFileError, match=r"unknown \['decoder\.weight'\]"):
        translate(official)


def test_no_tensors_are_no_network():
    with pytest.raises(ModelFileError, match="not the tensors of a CSDI network"):
        translate({})


# ------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pth"])
def test_a_checkpoint_can_be_read_in_three_formats(make_pair, tmp_path, suffix):
    official = {name: tensor.contiguous() for name, tensor in _official(make_pair).items()}
    path = tmp_path / f"model{suffix}"
    if suffix == ".npz":
        np.savez(path, **{name: tensor.numpy() for name, tensor in official.items()})
    elif suffix == ".safetensors":
        save_file(official, path)
    else:
        torch.save(official, path)
    read = read_csdi_file(path)
    assert read.keys() == official.keys()
    assert all(torch.equal(read[name], official[name]) for name in official)


class Arbitrary:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_a_pickle_is_refused_without_being_run(tmp_path):
    trace, path = tmp_path / "trace", tmp_path / "model.pth"
    torch.save({"embed_layer.weight": Arbitrary(str(trace))}, path)
    with pytest.raises(ModelFileError, match=r"model\.pth is not a readable CSDI checkpoint"):
        read_csdi_file(path)
    assert not trace.exists()
    torch.load(path, weights_only=False)  # it is indeed that dangerous
    assert trace.exists()


def test_objects_in_an_npz_are_refused_without_being_run(tmp_path):
    trace, path = tmp_path / "trace", tmp_path / "model.npz"
    np.savez(path, weight=np.array([Arbitrary(str(trace))], dtype=object))
    with pytest.raises(ModelFileError, match="not a readable CSDI checkpoint"):
        read_csdi_file(path)
    assert not trace.exists()


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pth"])
def test_rubbish_is_refused(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(ModelFileError, match="not a readable CSDI checkpoint"):
        read_csdi_file(path)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(ModelFileError, match=r"no CSDI checkpoint at .*nothing\.npz"):
        read_csdi_file(tmp_path / "nothing.npz")


def test_text_in_an_npz_is_refused(tmp_path):
    np.savez(tmp_path / "model.npz", weight=np.array(["text"]))
    with pytest.raises(ModelFileError):
        read_csdi_file(tmp_path / "model.npz")


@pytest.mark.parametrize(
    "content",
    [
        {"embed_layer.weight": [1.0, 2.0]},
        {"embed_layer.weight": torch.zeros(2), "epoch": 3},
        [torch.zeros(2)],
        torch.zeros(2),
    ],
)
def test_a_pth_of_anything_but_tensors_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "model.pth")
    with pytest.raises(ModelFileError, match="not a readable CSDI checkpoint"):
        read_csdi_file(tmp_path / "model.pth")


# ---------------------------------------------------------------------------------------- a head


def test_a_marginal_head_can_be_learned_on_a_checkpoint(make_pair, tmp_path):
    official = {name: tensor.numpy() for name, tensor in _official(make_pair, layers=1).items()}
    np.savez(tmp_path / "model.npz", **official)
    size = {"window_steps": 8, "n_samples": 3, "random_state": 0, "verbose": 0, "device": "cpu"}
    imputer = EDDPMImputer.from_csdi_weights(tmp_path / "model.npz", **size)
    rng = np.random.default_rng(0)
    table = rng.normal(size=(20, 3))
    table[rng.random(table.shape) < 0.2] = np.nan
    imputer = imputer.respace("uniform", 2).fit_marginals(table, iterations=2)
    before = imputer.sample(table)
    levels = even_levels(3)
    by_head = imputer.predict_quantiles(table, levels, method="head").values
    assert np.all(np.diff(by_head[:, np.isnan(table)], axis=0) > 0)
    coupled = imputer.sample(table, marginals="head").values
    np.testing.assert_allclose(np.sort(coupled, axis=0), by_head, rtol=1e-12)
    started = imputer.set_params(start="marginals").sample(table)
    assert np.isfinite(started).all() and not started.equals(before)
