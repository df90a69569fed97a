"""From a fitted model and a panel with holes to answers: samples, quantiles, medians."""
