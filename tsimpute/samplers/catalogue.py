"""Every sampler that needs nothing but a grid, by the name that users give."""

from __future__ import annotations

from tsimpute.samplers.ancestral import ancestral
from tsimpute.samplers.ddim import ddim
from tsimpute.samplers.dpm_solver import dpm_solver_2, dpm_solver_3
from tsimpute.samplers.dpm_solver_pp import dpm_solver_pp_2m, dpm_solver_pp_2m_sde
from tsimpute.samplers.genie import genie
from tsimpute.samplers.pndm import f_pndm, s_pndm
from tsimpute.samplers.protocol import Sampler
from tsimpute.samplers.unipc import unipc

SAMPLERS: dict[str, Sampler] = {
    "ddpm": ancestral,
    "ddim": ddim,
    "dpm-solver-2": dpm_solver_2,
    "dpm-solver-3": dpm_solver_3,
    "dpm-solver++2m": dpm_solver_pp_2m,
    "dpm-solver++2m-sde": dpm_solver_pp_2m_sde,
    "unipc": unipc,
    "s-pndm": s_pndm,
    "f-pndm": f_pndm,
    "genie": genie,
}
