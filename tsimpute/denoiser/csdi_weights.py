"""Names of the official CSDI checkpoints, translated to ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tsimpute.errors import ModelFileError

_OUTER = {
    "embed_layer": "feature_embedding",
    "diffmodel.diffusion_embedding.projection1": "step_embedding.first",
    "diffmodel.diffusion_embedding.projection2": "step_embedding.second",
    "diffmodel.input_projection": "input_projection",
    "diffmodel.output_projection1": "skip_projection",
    "diffmodel.output_projection2": "output_projection",
}
_BLOCK = {
    "diffusion_projection": "step_projection",
    "cond_projection": "side_projection",
    "mid_projection": "mid_projection",
    "output_projection": "output_projection",
}
_LAYER = {
    "self_attn.in_proj_weight": "qkv.weight",
    "self_attn.in_proj_bias": "qkv.bias",
    "self_attn.out_proj.weight": "attention_out.weight",
    "self_attn.out_proj.bias": "attention_out.bias",
    "linear1.weight": "feed_in.weight",
    "linear1.bias": "feed_in.bias",
    "linear2.weight": "feed_out.weight",
    "linear2.bias": "feed_out.bias",
    "norm1.weight": "norm_attention.weight",
    "norm1.bias": "norm_attention.bias",
    "norm2.weight": "norm_feed.weight",
    "norm2.bias": "norm_feed.bias",
}


def name_pairs(layers: int) -> dict[str, str]:
    """Every official tensor name with our name for it, for a network of `layers` blocks."""
    pairs = {"embed_layer.weight": "feature_embedding.weight"}
    for theirs, ours in _OUTER.items():
        if theirs != "embed_layer":
            pairs |= {f"{theirs}.{part}": f"{ours}.{part}" for part in ("weight", "bias")}
    for i in range(layers):
        outer, inner = f"diffmodel.residual_layers.{i}", f"blocks.{i}"
        for theirs, ours in _BLOCK.items():
            for part in ("weight", "bias"):
                pairs[f"{outer}.{theirs}.{part}"] = f"{inner}.{ours}.{part}"
        for axis in ("time_layer", "feature_layer"):
            for theirs, ours in _LAYER.items():
                pairs[f"{outer}.{axis}.layers.0.{theirs}"] = f"{inner}.{axis}.{ours}"
    return pairs


def read_csdi_file(path: str | Path) -> dict[str, Tensor]:
    """Read an official checkpoint (.npz, .safetensors, or .pth without running its pickle).

    Raises
    ------
    ModelFileError
        If the file is absent or holds anything but tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise ModelFileError(f"no CSDI checkpoint at {path}; expected a .npz, .safetensors or .pth")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return {name: torch.from_numpy(arrays[name]) for name in arrays.files}
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
        if not all(isinstance(tensor, Tensor) for tensor in loaded.values()):
            raise ModelFileError("it holds other things than tensors")
        return {str(name): tensor for name, tensor in loaded.items()}
    except Exception as error:
        raise ModelFileError(f"{path} is not a readable CSDI checkpoint: {error}") from error


def translate(official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename official tensors to ours; 1x1 convolutions lose their last axis.

    Raises
    ------
    ModelFileError
        If a tensor is missing or unknown; the message names it.
    """
    layers = len({n.split(".")[2] for n in official if n.startswith("diffmodel.residual_layers.")})
    pairs = name_pairs(layers)
    missing = sorted(set(pairs) - set(official))
    unknown = sorted(set(official) - set(pairs))
    if missing or unknown:
        raise ModelFileError(
            f"not the tensors of a CSDI network of {layers} layers: missing {missing[:3]}, "
            f"unknown {unknown[:3]}"
        )
    return {ours: _as_linear(official[theirs].float()) for theirs, ours in pairs.items()}


def _as_linear(tensor: Tensor) -> Tensor:
    return tensor.squeeze(-1).contiguous() if tensor.ndim == 3 else tensor.contiguous()
