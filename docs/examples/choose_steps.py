"""
Choose steps, sampler and samples
=================================

What would other settings cost, and what would they bring? ``speed_quality`` hides observed cells
and imputes them with every combination, the same cells in each. The data are monthly temperatures
of the sea surface off Peru (El Niño, from the Climate Prediction Center, in statsmodels).
"""

import copy

import matplotlib.pyplot as plt
import pandas as pd
from statsmodels.datasets import elnino

from tsimpute import EDDPMImputer
from tsimpute.plotting import plot_speed_quality, plot_step_importance

years = elnino.load_pandas().data.set_index("YEAR")
months = pd.date_range("1950-01", periods=years.size, freq="MS", name="time")
sea = pd.DataFrame({"temperature": years.to_numpy().ravel()}, index=months)

imputer = EDDPMImputer(
    window_steps=24,
    kept_steps=6,
    n_samples=16,
    random_state=0,
    epochs=10,
    train_stride=6,
    channels=16,
    layers=2,
    heads=2,
    verbose=0,
).fit(sea.loc[:"1995"])

# %%
# Each row is a way to sample from the same network. The Pareto front has the settings that no other
# one beats for as few evaluations of the network.

later = sea.loc["1996":]
table = imputer.speed_quality(
    later, steps=(1, 3, 6), samplers=("ddpm", "ddim"), n_samples=(4, 16), max_windows=6
)
print(table[table["pareto"]].round(3).to_string(index=False))

# %%
ax = plot_speed_quality(table, ax=plt.subplots(figsize=(9, 4.5), layout="constrained")[1])
ax.figure.show()

# %%
# How much worse, or better, does each single step's absence make it?

importance = imputer.step_importance(later, max_windows=6)
ax = plot_step_importance(importance, ax=plt.subplots(figsize=(9, 3), layout="constrained")[1])
ax.figure.show()

# %%
# Fewer steps without training, and the same with a short fine-tuning.

train = sea.loc[:"1995"]
fewer = imputer.respace("uniform", 2)
pruned = copy.copy(imputer).prune(train, kept_steps=2, epochs=2)
for name, other in (("respaced", fewer), ("pruned", pruned)):
    kept = other.step_schedule_.query("kept").index.tolist()
    print(f"{name}: steps {kept}, score {other.score(later):.3f}")
