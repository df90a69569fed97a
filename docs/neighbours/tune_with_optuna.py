"""Hyper-parameters by Optuna: train on the earlier years, score on the later ones."""

from __future__ import annotations

import optuna

from tsimpute import EDDPMImputer, load_co2

record = load_co2()
train, later = record.loc["1970":"1975"], record.loc["1976":"1978"]


def objective(trial: optuna.Trial) -> float:
    """Score of one setting: minus the CRPS on observed weeks that are hidden for it."""
    imputer = EDDPMImputer(
        window_steps=trial.suggest_categorical("window_steps", [26, 52]),
        anchor=trial.suggest_categorical("anchor", ["linear", "local"]),
        learning_rate=trial.suggest_float("learning_rate", 3e-4, 1e-2, log=True),
        kept_steps=3,
        n_samples=8,
        random_state=0,  # the same cells are hidden in each trial
        epochs=4,
        channels=8,
        layers=1,
        heads=2,
        verbose=0,
    )
    return imputer.fit(train).score(later)


if __name__ == "__main__":
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=0), study_name="co2"
    )
    study.optimize(objective, n_trials=5)
    print(f"best: {study.best_params}, score {study.best_value:.3f}")
