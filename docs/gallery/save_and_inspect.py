"""
Save a model, and look into it
==============================

A saved model is a folder of plain files with checksums, which nothing is executed from. What it
learned about each of the diffusion steps is a table. Yearly sunspots since 1700 (in statsmodels).
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from statsmodels.datasets import sunspots

from tsimpute import EDDPMImputer, load, plot_step_schedule
from tsimpute.plotting import plot_keep_prob_history, plot_loss_curves

data = sunspots.load_pandas().data
spots = pd.DataFrame({"sunspots": data["SUNACTIVITY"].to_numpy()}, index=data["YEAR"].astype(int))
spots.loc[1790:1797] = float("nan")  # a made gap

imputer = EDDPMImputer(
    window_steps=33,
    kept_steps=6,
    n_samples=16,
    random_state=0,
    epochs=24,
    train_stride=2,
    channels=16,
    layers=2,
    heads=2,
    verbose=0,
).fit(spots)

# %%
# There and back, with the same numbers.

with tempfile.TemporaryDirectory() as folder:
    path = imputer.save(Path(folder) / "model")
    print(*sorted(file.name for file in path.iterdir()), sep="\n")
    again = load(path)
print("the same answer:", again.transform(spots).equals(imputer.transform(spots)))

# %%
# Which steps were kept, and what was learned about the others. ``alpha_bar`` is the share of the
# signal's variance that is left at a step.

schedule = again.step_schedule_
print(schedule[schedule["kept"]].round(3).to_string())
ax = plot_step_schedule(schedule, ax=plt.subplots(figsize=(9, 4), layout="constrained")[1])
ax.figure.show()

# %%
# How training went, and how the probability of keeping each step changed.

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
plot_loss_curves(imputer.history_, ax=left)
plot_keep_prob_history(imputer.keep_prob_history_, ax=right)
figure.show()
