"""A run that is stopped and taken up again is the run that was never stopped."""

from __future__ import annotations

import os
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from tsimpute.denoiser.season import Season
from tsimpute.errors import ModelFileError
from tsimpute.training.checkpoint import restore_checkpoint, save_checkpoint

RUN = {"epochs": 4, "search_start": 0.2, "search_end": 0.7}


def _state(trainer):
    """Everything that must not depend on the interruption."""
    records = [asdict(record) for record in trainer.records]
    for record in records:
        del record["seconds"]
    grid = trainer.fixed_grid
    return {
        "records": records,
        "keep_prob": trainer.search.learner.keep_prob.tolist(),
        "history": [row.tolist() for row in trainer.keep_prob_history],
        "grid": None if grid is None else [grid.index.tolist(), grid.alpha_bar.tolist()],
        "weights": {name: p.tolist() for name, p in trainer.network.named_parameters()},
        "average": {name: w.tolist() for name, w in trainer.average.weights.items()},
        "best": trainer.best and trainer.best[0],
        "since_best": trainer.epochs_since_best,
        "n_iterations": trainer.n_iterations,
        "next": [trainer.rng.random(), torch.rand(1, generator=trainer.generator).item()],
    }


@pytest.mark.parametrize("after", [1, 2, 3])
@pytest.mark.parametrize("rule", ["paper", "guarded"])
def test_a_restored_run_goes_on_bit_for_bit(make_trainer, tmp_path, rule, after):
    """Saved before, in and after the search; the fresh run starts from other weights and draws."""
    settings = {"mask_rule": rule, "target_strategy": "mix", **RUN}
    whole = make_trainer(seed=0, **settings)
    for epoch in range(4):
        whole.run_epoch()
        if epoch + 1 == after:
            save_checkpoint(whole, tmp_path / "run.pt")
    whole.finish()
    second = make_trainer(seed=99, **settings)
    assert restore_checkpoint(second, tmp_path / "run.pt")
    assert len(second.records) == after
    while not second.finished:
        second.run_epoch()
    second.finish()
    one, other = _state(whole), _state(second)
    for part in one:
        assert one[part] == other[part], part


def test_without_pruning_a_restored_run_goes_on_bit_for_bit(make_trainer, tmp_path):
    whole = make_trainer(seed=0, kept_steps=12, epochs=3)
    whole.fit(on_epoch=lambda t: len(t.records) == 2 and save_checkpoint(t, tmp_path / "run.pt"))
    second = make_trainer(seed=99, kept_steps=12, epochs=3)
    assert restore_checkpoint(second, tmp_path / "run.pt")
    second.fit()
    assert _state(whole) == _state(second)


def test_time_that_was_used_counts(make_trainer, tmp_path):
    first = make_trainer(**RUN)
    first.run_epoch()
    first.seconds = 123.0
    save_checkpoint(first, tmp_path / "run.pt")
    second = make_trainer(**RUN)
    restore_checkpoint(second, tmp_path / "run.pt")
    assert second.seconds == 123.0
    second.run_epoch()
    assert second.records[-1].seconds >= 123.0


def test_the_best_weights_so_far_are_kept(make_trainer, tmp_path, monkeypatch):
    first = make_trainer(kept_steps=12, epochs=3)
    first.run_epoch()
    save_checkpoint(first, tmp_path / "run.pt")
    second = make_trainer(seed=1, kept_steps=12, epochs=3)
    restore_checkpoint(second, tmp_path / "run.pt")
    monkeypatch.setattr(second.validator, "loss", lambda network, grid, quick: 1e9)
    second.fit()
    best = first.best[1]
    assert all(torch.equal(p, best[name]) for name, p in second.network.named_parameters())


def test_patience_goes_on_where_it_was(make_trainer, tmp_path, monkeypatch):
    settings = {"kept_steps": 12, "epochs": 9, "patience": 3}
    first, second = make_trainer(**settings), make_trainer(**settings)
    losses = iter([0.5, 0.9, 0.9, 0.9])
    for trainer in (first, second):
        monkeypatch.setattr(trainer.validator, "loss", lambda network, grid, quick: next(losses))
    first.run_epoch()
    first.run_epoch()
    save_checkpoint(first, tmp_path / "run.pt")
    restore_checkpoint(second, tmp_path / "run.pt")
    second.fit()
    assert len(second.records) == 4


# ------------------------------------------------------------------------------------------ files


def test_there_may_be_no_file_yet(make_trainer, tmp_path):
    trainer = make_trainer(**RUN)
    assert restore_checkpoint(trainer, tmp_path / "run.pt") is False
    assert trainer.records == []


def test_folders_are_made_and_nothing_else_is_left(make_trainer, tmp_path):
    path = tmp_path / "some" / "folder" / "run.pt"
    for _ in range(2):
        save_checkpoint(make_trainer(**RUN), path)
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(make_trainer, tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    save_checkpoint(make_trainer(**RUN), path)
    before = path.read_bytes()

    def full_disk(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="no space left"):
        save_checkpoint(make_trainer(**RUN), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"mask_rule": "paper"}, "mask_rule"),
        ({"kept_steps": 4, "learning_rate": 0.1}, "kept_steps, learning_rate"),
        ({"epochs": 5}, "epochs"),
    ],
)
def test_other_settings_are_refused_by_name(make_trainer, tmp_path, settings, named):
    save_checkpoint(make_trainer(**RUN), tmp_path / "run.pt")
    with pytest.raises(ModelFileError, match=rf"other settings \({named}\); pass the same"):
        restore_checkpoint(make_trainer(**{**RUN, **settings}), tmp_path / "run.pt")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_rubbish_is_refused(make_trainer, tmp_path, content):
    (tmp_path / "run.pt").write_bytes(content)
    with pytest.raises(ModelFileError, match="not a readable checkpoint"):
        restore_checkpoint(make_trainer(**RUN), tmp_path / "run.pt")


def test_half_a_file_is_refused(make_trainer, tmp_path):
    path = tmp_path / "run.pt"
    save_checkpoint(make_trainer(**RUN), path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ModelFileError, match="not a readable checkpoint"):
        restore_checkpoint(make_trainer(**RUN), path)


@pytest.mark.parametrize("content", [{"version": 0}, {}, [1, 2]])
def test_another_version_is_refused(make_trainer, tmp_path, content):
    torch.save(content, tmp_path / "run.pt")
    with pytest.raises(ModelFileError, match="not a checkpoint of version 1"):
        restore_checkpoint(make_trainer(**RUN), tmp_path / "run.pt")


def test_a_checkpoint_without_settings_is_refused(make_trainer, tmp_path):
    torch.save({"version": 1}, tmp_path / "run.pt")
    with pytest.raises(ModelFileError):
        restore_checkpoint(make_trainer(**RUN), tmp_path / "run.pt")


class Arbitrary:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_a_checkpoint_cannot_run_code(make_trainer, tmp_path):
    trace = tmp_path / "trace"
    torch.save({"version": 1, "settings": Arbitrary(str(trace))}, tmp_path / "run.pt")
    with pytest.raises(ModelFileError, match="not a readable checkpoint"):
        restore_checkpoint(make_trainer(**RUN), tmp_path / "run.pt")
    assert not trace.exists()


# ------------------------------------------------------------------------------------ other runs


def _refused_by_name(trainer, path, name):
    """Refused before anything of the run has been touched."""
    before = {key: tensor.clone() for key, tensor in trainer.network.state_dict().items()}
    with pytest.raises(ModelFileError, match=rf"other settings \({name}\); pass the same"):
        restore_checkpoint(trainer, path)
    assert all(torch.equal(t, before[key]) for key, t in trainer.network.state_dict().items())
    assert trainer.records == []


def test_another_network_is_refused(make_trainer, tmp_path):
    save_checkpoint(make_trainer(**RUN), tmp_path / "run.pt")
    other = make_trainer(**RUN)
    other.network = torch.nn.Linear(2, 1)
    _refused_by_name(other, tmp_path / "run.pt", "network")


def test_another_schedule_is_refused(make_trainer, tmp_path):
    save_checkpoint(make_trainer(**RUN), tmp_path / "run.pt")
    other = make_trainer(**RUN)
    other.search.schedule = type(other.search.schedule)(np.full(20, 0.1))
    _refused_by_name(other, tmp_path / "run.pt", "schedule")


def test_a_schedule_with_other_levels_is_refused(make_trainer, tmp_path):
    save_checkpoint(make_trainer(**RUN), tmp_path / "run.pt")
    other = make_trainer(**RUN)
    schedule = other.search.schedule
    other.search.schedule = replace(schedule, beta=schedule.beta * 0.99)
    _refused_by_name(other, tmp_path / "run.pt", "schedule")


def test_another_conditioning_is_refused(make_trainer, tmp_path):
    save_checkpoint(make_trainer(**RUN), tmp_path / "run.pt")
    other = make_trainer(**RUN)
    other.search.schedule = replace(other.search.schedule, conditioning="logsnr")
    _refused_by_name(other, tmp_path / "run.pt", "conditioning")


@pytest.mark.parametrize(
    "parts",
    [
        {"kind": "local"},
        {"scale": torch.tensor([0.5, 0.8])},
        {"spread": torch.tensor([1.0, 2.0])},
        {"season": Season(2, torch.ones(2), torch.ones(2), torch.ones(2))},
    ],
)
def test_another_anchor_is_refused(make_trainer, tmp_path, parts):
    save_checkpoint(make_trainer(**RUN), tmp_path / "run.pt")
    other = make_trainer(**RUN)
    other.anchor = replace(other.anchor, **parts)
    _refused_by_name(other, tmp_path / "run.pt", "anchor")
