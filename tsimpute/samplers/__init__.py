"""Samplers: functions of (denoise, x, TimeGrid, variance, draw_noise, callback).

A sampler knows neither the network nor how its grid was found. It gets

- `denoise(x, network_step, alpha_bar)`: a :class:`Prediction`, the noise and what a second head
  says, of the shape of x;
- `x`: the start, standard normal;
- a :class:`tsimpute.diffusion.schedule.TimeGrid`;
- a reverse variance (:mod:`tsimpute.samplers.variance`);
- optionally `draw_noise()`: standard normal numbers of the shape of x (else torch's global ones);
- optionally `callback(StepRecord)`, called after each step.
"""

from tsimpute.samplers.ancestral import ancestral
from tsimpute.samplers.protocol import Denoise, DrawNoise, Prediction, Sampler, StepRecord

__all__ = ["Denoise", "DrawNoise", "Prediction", "Sampler", "StepRecord", "ancestral"]
