"""The command that tells what a saved model is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tsimpute.cli.options import Model

if TYPE_CHECKING:
    from tsimpute.imputer import EDDPMImputer


def inspect(
    model: Model,
    as_json: Annotated[bool, typer.Option("--json", help="for programs")] = False,
) -> None:
    """Check a saved model's files and tell what it is."""
    from tsimpute.persistence import load

    facts = describe(model, load(model, device="cpu"))
    typer.echo(json.dumps(facts, indent=1) if as_json else "\n".join(_lines(facts)))


def describe(path: Path, imputer: EDDPMImputer) -> dict[str, Any]:
    """Facts about a model whose files were checked by loading it, as plain data."""
    stored = json.loads((path / "config.json").read_text("utf-8"))
    return {
        "path": str(path),
        "model_id": imputer.model_id_,
        "format": int((path / "FORMAT_VERSION").read_text("utf-8")),
        "tsimpute_version": stored["tsimpute_version"],
        "checksums": "verified",
        "bytes": {file.name: file.stat().st_size for file in sorted(path.iterdir())},
        "features": _features(imputer),
        "window_steps": imputer.model_.window_steps,
        "network": _network(imputer),
        "steps": _steps(imputer),
        "learned": _learned(imputer),
        "calibrations": _calibrations(imputer),
        "training": _training(imputer),
        "parameters": _changed(imputer, stored["parameters"]),
    }


def _features(imputer: EDDPMImputer) -> list[dict[str, Any]]:
    scaler = imputer.model_.scaler
    names = imputer.model_.feature_labels or range(len(scaler.center))
    transforms = scaler.transforms or [None] * len(scaler.center)
    rows = zip(names, scaler.center.tolist(), scaler.scale.tolist(), transforms, strict=True)
    return [
        {
            "name": name,
            "mean": mean,
            "sd": sd,
            "scaling": "standard" if transform is None else transform.to_dict()["kind"],
        }
        for name, mean, sd, transform in rows
    ]


def _network(imputer: EDDPMImputer) -> dict[str, int]:
    network = imputer.model_.network
    shape = network.config
    n_parameters = sum(weights.numel() for weights in network.parameters())
    return {
        "n_parameters": n_parameters,
        "channels": shape.channels,
        "layers": shape.layers,
        "heads": shape.heads,
    }


def _steps(imputer: EDDPMImputer) -> dict[str, Any]:
    grid, widths = imputer.model_.grid, imputer.model_.widths
    return {
        "of": imputer.model_.schedule.n_steps,
        "kept": grid.index.tolist(),
        "alpha_bar": grid.alpha_bar.tolist(),
        "widths": None if widths is None else list(widths.eighths),
        "skipped": [] if widths is None else [step for step, *_ in widths.skipped],
    }


def _learned(imputer: EDDPMImputer) -> list[str]:
    """What the model has besides its network."""
    from tsimpute.persistence import PARTS

    model = imputer.model_
    there = {
        "variance analytic": model.noise_power,
        "marginal head": model.marginals,
        "sampler ggdm": model.ggdm,
        "sampler tdas": model.spectrum,
    }
    there |= {name: getattr(model, name) for name in PARTS}
    heads = [f"head {kind}" for kind in model.heads]
    return heads + [name for name, part in there.items() if part is not None]


def _calibrations(imputer: EDDPMImputer) -> list[dict[str, Any]]:
    """On how many hidden cells intervals were calibrated, for each way to make them."""
    return [
        {"n_cells": int(own.n_cells.sum()), "way": {**own.way, "n_samples": own.n_samples}}
        for own in imputer.model_.calibrations
    ]


def _training(imputer: EDDPMImputer) -> dict[str, Any]:
    history = imputer.history_
    facts: dict[str, Any] = {"seed": imputer.seed_, "epochs": len(history)}
    if len(history):
        last = history.iloc[-1]
        facts["seconds"] = float(last["seconds"])
        losses = {"train_loss": last["train_loss"], "validation_loss": last["validation_loss"]}
        facts |= {name: None if loss != loss else float(loss) for name, loss in losses.items()}
    return facts


def _changed(imputer: EDDPMImputer, stored: dict[str, Any]) -> dict[str, Any]:
    """Parameters that are not the defaults."""
    usual = type(imputer)().get_params()
    return {name: value for name, value in stored.items() if usual.get(name) != value}


def _lines(facts: dict[str, Any]) -> Iterator[str]:
    network, steps, training = facts["network"], facts["steps"], facts["training"]
    sizes = facts["bytes"].values()
    yield (
        f"{facts['path']}: model {facts['model_id']}, of format {facts['format']}, "
        f"written by tsimpute {facts['tsimpute_version']}"
    )
    yield f"files       {len(sizes)}, {sum(sizes) / 1000:.1f} kB; SHA-256 {facts['checksums']}"
    yield f"window      {facts['window_steps']} rows, {len(facts['features'])} features:"
    for feature in facts["features"]:
        kind = "" if feature["scaling"] == "standard" else f", of the {feature['scaling']}"
        yield (
            f"            {feature['name']}: mean {feature['mean']:.4g}, "
            f"sd {feature['sd']:.4g}{kind}"
        )
    yield (
        f"network     {network['n_parameters']:,} weights: {network['channels']} channels, "
        f"{network['layers']} layers, {network['heads']} heads"
    )
    yield from _said_of_steps(steps)
    yield f"learned     {', '.join(facts['learned']) or 'nothing besides the network'}"
    if not facts["calibrations"]:
        yield "calibration none: intervals are as they are sampled"
    for own in facts["calibrations"]:
        way = ", ".join(f"{name}={value!r}" for name, value in own["way"].items())
        yield f"calibration on {own['n_cells']:,} hidden cells, for {way}"
    yield f"training    {', '.join(_said(training))}"
    changed = (f"{name}={value!r}" for name, value in facts["parameters"].items())
    yield f"parameters  {', '.join(changed) or 'the defaults'}"


def _said_of_steps(steps: dict[str, Any]) -> Iterator[str]:
    yield f"steps       {len(steps['kept'])} of {steps['of']} kept: {_listed(steps['kept'])}"
    yield f"            signal left at the noisiest: {steps['alpha_bar'][-1]:.2%}"
    if steps["widths"] is not None:
        yield f"            widths, in eighths of the channels: {_listed(steps['widths'])}"
    if steps["skipped"]:
        yield f"            left out by the widths: {_listed(steps['skipped'])}"


def _listed(numbers: list[int]) -> str:
    return " ".join(map(str, numbers))


def _said(training: dict[str, Any]) -> Iterator[str]:
    yield f"{training['epochs']} epochs"
    if "seconds" in training:
        yield f"{training['seconds']:.0f} s"
        yield f"loss {training['train_loss']:.4f}"
    if training.get("validation_loss") is not None:
        yield f"validation {training['validation_loss']:.4f}"
    yield f"seed {training['seed']}"
