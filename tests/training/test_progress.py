"""The progress bar of a run."""

from __future__ import annotations

from tsimpute.training.progress import TrainingBar


def test_the_bar_follows_the_run(make_trainer, capsys):
    trainer = make_trainer(epochs=2)
    with TrainingBar("fit", silent=False) as bar:
        trainer.fit(bar.on_epoch, bar.on_step)
    assert "fit: 100%" in capsys.readouterr().err


def test_the_bar_tells_of_every_epoch(make_trainer, capsys):
    with TrainingBar("fit", silent=False) as bar:
        make_trainer(epochs=2).fit(bar.on_epoch, bar.on_step)
    shown = capsys.readouterr().err
    assert "epoch 1, " in shown
    assert "epoch 2, " in shown


def test_a_silent_bar_is_silent(make_trainer, capsys):
    with TrainingBar("fit", silent=True) as bar:
        make_trainer(epochs=1).fit(bar.on_epoch, bar.on_step)
    assert capsys.readouterr().err == ""
