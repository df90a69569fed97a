"""The mathematics of the diffusion: schedules, time grids, learned step masks, losses."""
