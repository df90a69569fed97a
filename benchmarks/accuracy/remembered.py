"""A network that remembers what it has said, for samplers that ask the same thing again.

All samplers on the same steps start from the same noise, and without noise of its own a sampler
takes the same way whatever the variance that its last step is read with. An answer is found again
only for the very same numbers, so that no result changes; seconds are those of the first time.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad


class Remembered:
    """`trunk` of a network, which keeps its latest answers up to so many bytes.

    Attributes
    ----------
    saved_s : float
        Seconds that remembered answers once took.
    """

    def __init__(self, trunk: Callable[..., Tensor], most_bytes: int) -> None:
        self.trunk, self.most_bytes = trunk, most_bytes
        self.saved_s = 0.0
        self._bytes = 0
        self._known: OrderedDict[bytes, tuple[Tensor, float]] = OrderedDict()

    def __call__(self, x: Tensor, *others: Any, **named: Any) -> Tensor:
        """The network's answer; anew where a derivative is asked for too.

        So it is with named arguments, as in training: only samplers ask the same again. Side
        information is not compared: it must be the same for all windows.
        """
        asked = (x, *others)
        if named or torch.is_grad_enabled() or _has_tangent(x):
            return self.trunk(*asked, **named)
        key = _digest([part for part in asked if isinstance(part, Tensor)])
        if key in self._known:
            self._known.move_to_end(key)
            answer, seconds = self._known[key]
            self.saved_s += seconds
            return answer
        begun = time.perf_counter()
        answer = self.trunk(*asked)
        self._known[key] = answer, time.perf_counter() - begun
        self._bytes += answer.nbytes
        while self._bytes > self.most_bytes:
            _, (oldest, _) = self._known.popitem(last=False)
            self._bytes -= oldest.nbytes
        return answer


def _has_tangent(x: Tensor) -> bool:
    return forward_ad.unpack_dual(x).tangent is not None  # type: ignore[no-untyped-call]


def _digest(tensors: Sequence[Tensor]) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.digest()
