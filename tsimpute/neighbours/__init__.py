"""Ways to other libraries of time series, each in a module with the library's name.

`tsimpute.neighbours.sktime` needs the extra ``sktime``; `tsimpute.neighbours.darts` imports nothing
of Darts, and works with what the user has.
"""

from __future__ import annotations
