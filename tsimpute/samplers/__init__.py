"""Samplers: functions of (denoise, x, TimeGrid, variance, draw_noise, callback).

A sampler knows neither the network nor how its grid was found. It gets

- `denoise(x, network_step, alpha_bar)`: the predicted noise, of the shape of x;
- `x`: the start, standard normal;
- a :class:`tsimpute.diffusion.schedule.TimeGrid`;
- a reverse variance (:mod:`tsimpute.samplers.variance`);
- `draw_noise()`: standard normal numbers of the shape of x;
- optionally `callback(StepRecord)`, called after each step.
"""

from tsimpute.samplers.ancestral import ancestral
from tsimpute.samplers.protocol import Denoise, DrawNoise, Sampler, StepRecord

__all__ = ["Denoise", "DrawNoise", "Sampler", "StepRecord", "ancestral"]
