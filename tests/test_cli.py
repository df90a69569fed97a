"""The command line: real commands on a small model, each kind of file, each error."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tsimpute import EDDPMImputer, load
from tsimpute.files import read
from tsimpute.files.tables import read_csv

pytest.importorskip("typer")

from tsimpute.cli import main

ROOT = Path(__file__).resolve().parents[1]
SMALL = {
    "window_steps": 8,
    "kept_steps": 2,
    "n_samples": 4,
    "epochs": 1,
    "diffusion_steps": 8,
    "channels": 8,
    "layers": 1,
    "heads": 2,
    "variance": "fixed",
}
SETTINGS = [f"--set={name}={value}" for name, value in SMALL.items()]
TINY = ["--seed=3", "--device=cpu", "--quiet", *SETTINGS]

Run = Callable[..., tuple[int, str, str]]


def table() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    t = np.arange(60)
    index = pd.date_range("2026-01-01", periods=60, freq="h", name="time")
    df = pd.DataFrame({"x": np.sin(t / 3), "y": np.cos(t / 3)}, index=index)
    return df.mask(rng.random(df.shape) < 0.2)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command here: its exit status, standard output and standard error."""

    def command(*arguments: str | Path) -> tuple[int, str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as done:
            main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        code = done.value.code
        return (0 if code is None else int(code)), out, err

    return command


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, and a model that a command fitted to them."""
    place = tmp_path_factory.mktemp("cli")
    table().to_csv(place / "data.csv")
    with pytest.raises(SystemExit) as done:
        main(["fit", str(place / "data.csv"), "--out", str(place / "model"), *TINY])
    assert not done.value.code
    return place


def process(*arguments: str | Path, **options: Any) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tsimpute", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=environment, preexec_fn=_hear_ctrl_c, **pipes, **options)


def _hear_ctrl_c() -> None:
    """What runs in the background of a shell ignores Ctrl-C, and so would its children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


# ------------------------------------------------------------------------------------- fit, prune


def test_fit_and_prune_lay_the_holes_of_other_data_over_theirs(tmp_path: Path, run: Run) -> None:
    full, holed = tmp_path / "full.csv", tmp_path / "holed.csv"
    complete = table().interpolate().bfill()
    complete.to_csv(full)
    table().to_csv(holed)
    how = [*TINY, "--target-strategy=historical"]
    code, _, err = run("fit", full, "--out", tmp_path / "none", *how)
    assert code == 1 and "patterns" in err and not (tmp_path / "none").exists()
    assert run("fit", full, "--out", tmp_path / "model", *how, "--patterns", holed)[0] == 0
    settings = SMALL | {"target_strategy": "historical", "random_state": 3}
    wanted = EDDPMImputer(**settings, device="cpu", verbose=0).fit(complete, patterns=table())
    found = load(tmp_path / "model", device="cpu").set_params(verbose=0)
    pd.testing.assert_frame_equal(found.transform(table()), wanted.transform(table()))
    asked = ["prune", tmp_path / "model", full, "--out", tmp_path / "pruned", "--kept-steps=1"]
    assert run(*asked, "--quiet", "--device=cpu")[0] == 1
    assert run(*asked, "--quiet", "--device=cpu", "--patterns", holed)[0] == 0
    assert len(load(tmp_path / "pruned", device="cpu").model_.grid) == 1


def test_fit_makes_the_model_that_the_library_makes(folder: Path) -> None:
    made = EDDPMImputer(**SMALL, random_state=3, verbose=0, device="cpu").fit(table())
    found = load(folder / "model", device="cpu")
    assert found.get_params() == made.get_params()
    pd.testing.assert_frame_equal(found.transform(table()), made.transform(table()))


def test_a_parameter_can_be_an_option_and_columns_can_be_chosen(folder: Path, run: Run) -> None:
    out = folder / "other"
    options = ["--kept-steps", "3", "--columns", "y", "--set", "anchor=none"]
    code, _, err = run("fit", folder / "data.csv", "--out", out, *TINY, *options)
    assert (code, err) == (0, "")
    model = load(out, device="cpu")
    assert model.get_params()["anchor"] == "none"
    assert model.feature_names_in_.tolist() == ["y"]
    assert len(model.model_.grid) == 2  # --set comes last


def test_prune_keeps_fewer_steps(folder: Path, run: Run) -> None:
    out = folder / "pruned"
    options = ["--kept-steps", "1", "--quiet"]
    code, _, err = run("prune", folder / "model", folder / "data.csv", "--out", out, *options)
    assert (code, err) == (0, "")
    assert len(load(out).model_.grid) == 1
    assert len(load(folder / "model").model_.grid) == 2


# ----------------------------------------------------------------------------------------- impute

NEEDS = {".csv": "pandas", ".parquet": "pyarrow", ".nc": "h5py", ".zarr": "zarr"}


def save(frame: pd.DataFrame, path: Path) -> None:
    if path.suffix == ".csv":
        frame.to_csv(path)
    elif path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".nc":
        frame.to_xarray().to_netcdf(path, engine="h5netcdf")
    else:
        frame.to_xarray().to_zarr(path, zarr_format=2, consolidated=False)


@pytest.mark.parametrize("after", NEEDS)
@pytest.mark.parametrize("before", NEEDS)
def test_impute_writes_the_librarys_numbers_in_every_kind(
    folder: Path, tmp_path: Path, run: Run, before: str, after: str
) -> None:
    for ending in (before, after):
        pytest.importorskip(NEEDS[ending])
    save(table(), tmp_path / f"in{before}")
    out = tmp_path / f"out{after}"
    options = ["--quantiles", ".05,.95", "--device", "cpu", "-q"]
    code, _, err = run("impute", folder / "model", tmp_path / f"in{before}", "--out", out, *options)
    assert (code, err) == (0, "")
    found = read(str(out)).data
    imputer = load(folder / "model", device="cpu")
    bands = imputer.predict_quantiles(table(), (0.05, 0.5, 0.95))
    for name in "xy":
        for i, suffix in enumerate(("_q05", "", "_q95")):
            wanted = bands.sel(feature=name).to_numpy()[i]
            np.testing.assert_array_equal(found[f"{name}{suffix}"].to_numpy(), wanted)


def test_impute_reads_and_writes_pipes_and_talks_on_standard_error(folder: Path) -> None:
    data = table()[["y", "x"]].assign(note="n")
    arguments = ("impute", folder / "model", "-", "--samples", "2", "--seed", "7")
    done = process(*arguments, stdin=subprocess.PIPE)
    out, err = done.communicate(data.to_csv().encode())
    assert done.returncode == 0
    assert f"{int(table().isna().sum().sum())} of 120 cells were missing" in err.decode()
    assert "impute: 100%" in err.decode()
    found = read_csv(out).set_index("time")
    imputer = load(folder / "model", device="cpu")
    wanted = imputer.predict_quantiles(data[["y", "x"]], [0.5], n_samples=2, random_state=7)
    assert list(found) == ["y", "x", "note"]
    np.testing.assert_array_equal(found[["y", "x"]].to_numpy(), wanted.to_numpy()[0])


def test_impute_takes_many_series(folder: Path, tmp_path: Path, run: Run) -> None:
    both = pd.concat({"p": table(), "q": table().iloc[:9]}, names=["stay", "time"])
    both.to_csv(tmp_path / "both.csv")
    options = ["--series-column", "stay", "--device", "cpu", "-q"]
    code, out, err = run("impute", folder / "model", tmp_path / "both.csv", *options)
    assert (code, err) == (0, "")
    found = read_csv(out.encode())
    bands = load(folder / "model", device="cpu").predict_quantiles(both, [0.5])
    wanted = bands.to_numpy()[0]  # (series, time, feature)
    assert found["stay"].tolist() == ["p"] * 60 + ["q"] * 9
    np.testing.assert_array_equal(found[["x", "y"]].to_numpy()[:60], wanted[0])
    np.testing.assert_array_equal(found[["x", "y"]].to_numpy()[60:], wanted[1, :9])


def test_impute_says_how_many_cells_the_models_rules_leave_open(
    folder: Path, tmp_path: Path, run: Run
) -> None:
    ruled = load(folder / "model", device="cpu").set_params(max_gap=1, scaling="standard")
    ruled.save(tmp_path / "ruled")
    code, out, err = run("impute", tmp_path / "ruled", folder / "data.csv")
    n_open = int(ruled.transform(table()).isna().sum().sum())
    assert code == 0 and n_open > 0
    assert read_csv(out.encode()).isna().sum().sum() == n_open
    assert f"{n_open} were refused and are left open" in err


def test_impute_reads_columns_that_are_only_looked_at_and_irregular_times(
    folder: Path, tmp_path: Path, run: Run
) -> None:
    data = table().assign(site=1.5).drop(index=table().index[[5, 9, 10]])[["x", "site", "y"]]
    data.to_csv(tmp_path / "data.csv")
    options = ['--set=exogenous=["site"]', "--set=time=clock", '--set=calendar=["hour"]']
    model = tmp_path / "model"
    assert run("fit", tmp_path / "data.csv", "--out", model, *TINY, *options)[0] == 0
    code, out, err = run("impute", model, tmp_path / "data.csv", "--quantiles=.5", "-q")
    assert (code, err) == (0, "")
    found = read_csv(out.encode())
    assert list(found) == ["time", "x", "site", "y", "x_q50", "y_q50"]
    wanted = load(model, device="cpu").predict_quantiles(data, [0.5]).to_numpy()[0]
    np.testing.assert_array_equal(found[["x", "site", "y"]].to_numpy(), wanted)
    assert run("inspect", model)[0] == 0


def test_impute_can_write_over_its_input(folder: Path, tmp_path: Path, run: Run) -> None:
    shutil.copy(folder / "data.csv", tmp_path / "data.csv")
    file = tmp_path / "data.csv"
    assert run("impute", folder / "model", file, "--out", file, "-q")[0] == 0
    assert not pd.read_csv(file).isna().any(axis=None)
    assert [path.name for path in tmp_path.iterdir()] == ["data.csv"]


# --------------------------------------------------------------------------------------- evaluate


def test_evaluate_says_in_words_and_tables_what_the_library_found(
    folder: Path, tmp_path: Path, run: Run
) -> None:
    options = ["--pattern=point", "--methods=linear,last value", "--seed=5", "-q"]
    target = tmp_path / "scores.csv"
    code, out, err = run(
        "evaluate", folder / "model", folder / "data.csv", "--out", target, *options
    )
    assert (code, err) == (0, "")
    imputer = load(folder / "model", device="cpu").set_params(verbose=0)
    methods = ["linear", "last value"]
    wanted = imputer.evaluate(table(), "point", methods=methods, random_state=5)
    assert out.startswith(wanted.text)
    assert out.splitlines()[-1].split()[:2] == ["last", "value"]
    scores = pd.read_csv(target)
    parts = {"all": wanted.overall, "feature": wanted.by_feature, "gap length": wanted.by_gap}
    for by, part in parts.items():
        found = scores[scores["by"] == by]
        np.testing.assert_allclose(found["CRPS"], part["CRPS"])
    assert scores[scores["by"] == "feature"]["group"].unique().tolist() == ["x", "y"]


def test_a_calibrated_model_is_named_so_and_can_be_asked_for_plain_quantiles(
    folder: Path, tmp_path: Path, run: Run
) -> None:
    imputer = load(folder / "model", device="cpu").set_params(verbose=0)
    imputer.fit_calibration(table(), max_windows=16).save(tmp_path / "model")
    (calibration,) = imputer.model_.calibrations
    n_cells = int(calibration.n_cells.sum())
    assert f"calibration on {n_cells} hidden cells" in run("inspect", tmp_path / "model")[1]
    for options, calibrated in (([], True), (["--uncalibrated"], False)):
        arguments = [tmp_path / "model", folder / "data.csv", "--quantiles=.05", "-q", *options]
        found = read_csv(run("impute", *arguments)[1].encode())
        wanted = imputer.predict_quantiles(table(), [0.05], calibrated=calibrated)
        np.testing.assert_array_equal(found["x_q05"], wanted.sel(feature="x").to_numpy()[0])
    asked = [tmp_path / "model", folder / "data.csv", "--pattern=point", "--methods=linear", "-q"]
    wanted = [
        imputer.evaluate(table(), "point", methods=["linear"], calibrated=calibrated).text
        for calibrated in (True, False)
    ]
    assert wanted[0] != wanted[1]
    assert run("evaluate", *asked)[1].startswith(wanted[0])
    assert run("evaluate", *asked, "--uncalibrated")[1].startswith(wanted[1])


# ---------------------------------------------------------------------------- inspect, plot, serve


def test_inspect_tells_what_a_model_is(folder: Path, run: Run) -> None:
    code, out, err = run("inspect", folder / "model", "--json")
    assert (code, err) == (0, "")
    facts = json.loads(out)
    imputer = load(folder / "model", device="cpu")
    assert facts["checksums"] == "verified" and facts["format"] == 4
    assert facts["calibrations"] == []
    assert facts["model_id"] == imputer.model_id_
    assert [feature["name"] for feature in facts["features"]] == ["x", "y"]
    assert facts["features"][0]["mean"] == pytest.approx(table()["x"].mean())
    assert facts["steps"]["kept"] == imputer.model_.grid.index.tolist()
    assert facts["network"]["n_parameters"] == sum(
        weights.numel() for weights in imputer.model_.network.parameters()
    )
    assert facts["training"]["epochs"] == 1
    given = SMALL | {"random_state": 3, "device": "cpu", "verbose": 0}
    assert facts["parameters"] == given


def test_inspect_names_a_learned_scaling(folder: Path, run: Run) -> None:
    options = ['--set=scaling={"x": "rank"}', '--set=bounds={"y": [-2, 2]}']
    assert run("fit", folder / "data.csv", "--out", folder / "ranked", *TINY, *options)[0] == 0
    code, out, _ = run("inspect", folder / "ranked")
    assert code == 0
    assert ", of the rank" in out and "bounds={'y': [-2, 2]}" in out


def test_inspect_names_what_was_learned_besides(folder: Path, tmp_path: Path, run: Run) -> None:
    model = load(folder / "model", device="cpu")
    model.fit_variance(table(), "analytic").fit_marginals(table(), iterations=2)
    model.save(tmp_path / "model")
    code, out, _ = run("inspect", tmp_path / "model")
    assert code == 0
    assert "learned     variance analytic, marginal head" in out
    assert "steps       2 of 8 kept" in out


def test_inspect_shows_the_width_of_each_step(tmp_path: Path, run: Run) -> None:
    model = EDDPMImputer(**SMALL | {"kept_steps": 3}, slimmable=True, device="cpu", verbose=0)
    steps = model.fit(table()).model_.grid.index
    for widths, (shown, left_out) in {
        (8, 8, 8): ("8 8 8", None),
        (8, 0, 4): ("8 4", steps[1]),
    }.items():
        model.use_widths(widths).save(tmp_path / "model")
        code, out, _ = run("inspect", tmp_path / "model")
        assert code == 0
        assert f"widths, in eighths of the channels: {shown}\n" in out
        assert ("left out by the widths" in out) == (left_out is not None)
    assert f"left out by the widths: {left_out}\n" in out
    facts = json.loads(run("inspect", tmp_path / "model", "--json")[1])
    assert facts["steps"]["widths"] == [8, 4] and facts["steps"]["skipped"] == [left_out]


@pytest.mark.parametrize(
    ("what", "options"),
    [
        ("data", ["data.csv", "--feature", "x", "--rows", "10:40"]),
        ("missingness", ["data.csv"]),
        ("imputation", ["model", "data.csv", "--feature", "y", "--rows", ":30", "-q"]),
        ("reliability", ["model", "data.csv", "--max-windows", "8", "-q"]),
        ("steps", ["model"]),
        ("widths", ["model"]),
        ("loss", ["model"]),
        ("keep-prob", ["model"]),
    ],
)
@pytest.mark.parametrize("ending", [".png", ".svg"])
def test_plot_writes_a_picture(
    folder: Path, tmp_path: Path, run: Run, what: str, options: list[str], ending: str
) -> None:
    pytest.importorskip("matplotlib")
    files = [str(folder / name) if (folder / name).exists() else name for name in options]
    picture = tmp_path / f"picture{ending}"
    code, _, err = run("plot", what, *files, "--out", picture)
    assert (code, err) == (0, f"saved {picture}\n")
    assert picture.read_bytes()[:5] == (b"\x89PNG\r" if ending == ".png" else b"<?xml")


@pytest.mark.slow
def test_serve_answers(folder: Path, tmp_path: Path) -> None:
    for library in ("fastapi", "uvicorn", "httpx"):
        pytest.importorskip(library)
    import socket

    import httpx

    shutil.copytree(folder / "model", tmp_path / "models" / "small" / "1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = process("serve", tmp_path / "models", "--port", port, cwd=ROOT)
    try:
        for _ in range(600):
            try:
                ready = httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200
            except httpx.TransportError:
                ready = False
            if ready or running.poll() is not None:
                break
            time.sleep(0.1)
        body = {"columns": ["x", "y"], "rows": [[1, 2], [None, 3], [4, 5]]}
        answer = httpx.post(f"http://127.0.0.1:{port}/impute", json=body, timeout=60)
        assert answer.status_code == 200 and answer.json()["model"]["name"] == "small"
    finally:
        running.send_signal(signal.SIGTERM)
        running.communicate()
    assert running.returncode == 0


# ----------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["impute", "MODEL", "none.csv"], "none.csv: got no such file"),
        (["impute", "MODEL", "DATA", "--out", "none/out.csv"], "does not exist; make it first"),
        (["impute", "MODEL", "DATA", "--out", "out.xls"], "unknown ending"),
        (["impute", "none", "DATA"], "is not a saved model"),
        (["impute", "BROKEN", "DATA"], "was altered or truncated"),
        (["inspect", "BROKEN"], "was altered or truncated"),
        (["impute", "MODEL", "OTHER"], "expected also 'y'"),
        (["impute", "MODEL", "DATA", "--method", "head"], "needs a marginal head"),
        (["impute", "MODEL", "DATA", "--sampler", "dppm"], "sampler='dppm'"),
        (["impute", "MODEL", "DATA", "--device", "gpu"], "device='gpu'"),
        (["prune", "MODEL", "DATA", "--out", "new", "--kept-steps", "5"], "kept_steps=5"),
        (["fit", "TEXT", "--out", "new", *SETTINGS], "'x' holds 'word' in row 1"),
        (["fit", "DATA", "--out", "FOLDER", *SETTINGS], "exists and is not a saved model"),
        (["plot", "data", "DATA", "--out", "a.png"], "feature: got None"),
        (["evaluate", "MODEL", "DATA", "--methods", "liner"], "methods='liner'"),
        (["serve", "none"], "none: got no such folder"),
        (["serve", "MODEL"], "is a model itself"),
    ],
)
def test_what_cannot_be_used_is_one_sentence_and_status_1(
    folder: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, arguments, message
) -> None:
    shutil.copytree(folder / "model", tmp_path / "broken")
    with open(tmp_path / "broken" / "config.json", "a", encoding="utf-8") as file:
        file.write(" ")
    (tmp_path / "other.csv").write_text("x,z\n1,2\n", encoding="utf-8")
    (tmp_path / "text.csv").write_text("x,y\n1,2\nword,3\n", encoding="utf-8")
    places = {
        "MODEL": folder / "model",
        "DATA": folder / "data.csv",
        "BROKEN": tmp_path / "broken",
        "OTHER": tmp_path / "other.csv",
        "TEXT": tmp_path / "text.csv",
        "FOLDER": tmp_path,
    }
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    code, out, err = run(*(places.get(argument, argument) for argument in arguments))
    assert code == 1 and out == ""
    assert err.startswith("error: ") and err.count("\n") == 1
    assert message in err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fitt"], "No such command"),
        (["fit"], "Missing argument"),
        (["fit", "DATA"], "Missing option '--out'"),
        (["fit", "DATA", "--out", "m", "--windows", "3"], "No such option: --windows"),
        (["fit", "DATA", "--out", "m", "--set", "chanels=8"], "did you mean channels?"),
        (["fit", "DATA", "--out", "m", "--set", "channels"], "expected name=value"),
        (["fit", "DATA", "--out", "m", "--window-steps", "0"], "window_steps=0"),
        (["fit", "DATA", "--out", "m", "--set", "sampler=dppm"], "did you mean"),
        (["fit", "DATA", "--out", "m", "--device", "gpu"], "device='gpu'"),
        (["impute", "MODEL", "DATA", "--quantiles", ".5,2"], "expected levels between 0 and 1"),
        (["impute", "MODEL", "DATA", "--quantiles", "half"], "expected levels between 0 and 1"),
        (["impute", "MODEL", "DATA", "--samples", "0"], "--samples"),
        (["evaluate", "MODEL", "DATA", "--out", "a.txt"], "expected an ending of .csv"),
        (["plot", "steps", "MODEL", "--out", "a.gif"], "expected an ending of .png"),
        (["plot", "data", "DATA", "--rows", "3", "--out", "a.png"], "expected first:last"),
        (["plot", "data", "DATA", "--rows", "9000:", "--out", "a.png"], "numbered from 0"),
    ],
)
def test_a_wrong_command_is_status_2(folder: Path, run: Run, arguments, message) -> None:
    places = {"MODEL": folder / "model", "DATA": folder / "data.csv"}
    code, out, err = run(*(places.get(argument, argument) for argument in arguments))
    assert code == 2 and out == ""
    assert message in " ".join(err.split()) and "Traceback" not in err


def test_debug_shows_where_an_error_is_from(folder: Path, run: Run) -> None:
    code, _, err = run("--debug", "impute", folder / "none", folder / "data.csv")
    assert code == 1
    assert "Traceback" in err and err.splitlines()[-1].startswith("error: ")


def test_a_warning_is_one_line(folder: Path) -> None:
    options = [*SETTINGS, "--set=kept_steps=1", "--set=mask_rule=paper", "-q"]
    done = process("fit", folder / "data.csv", "--out", folder / "warned", "--seed=0", *options)
    _, err = done.communicate()
    assert done.returncode == 0
    lines = err.decode().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("warning: the noisiest kept step still holds")


def test_without_typer_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "typer", None)
    for module in [name for name in sys.modules if name.startswith("tsimpute.cli.")]:
        monkeypatch.delitem(sys.modules, module)
    with pytest.raises(SystemExit, match=r"tsimpute\[cli\]"):
        main([])


def test_help_and_version_load_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from tsimpute.cli import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit as done:\n    assert not done.code\n"
        "print([m for m in ('torch', 'xarray', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.splitlines()[-1] == "[]"


# ----------------------------------------------------------------------------------------- Ctrl-C


def press_ctrl_c_at(running: subprocess.Popen[bytes], sign: bytes) -> bytes:
    """Wait for a sign on standard error, press Ctrl-C; what it said in the end."""
    assert running.stderr is not None
    seen = b""
    while sign not in seen:
        more = os.read(running.stderr.fileno(), 4096)
        assert more, seen.decode()
        seen += more
    running.send_signal(signal.SIGINT)
    return running.communicate()[1]


def test_ctrl_c_ends_training_saves_the_model_and_is_status_130(folder: Path) -> None:
    out = folder / "interrupted"
    options = ["--seed=0", "--device=cpu", *SETTINGS, "--set=epochs=100000"]
    running = process("fit", folder / "data.csv", "--out", out, *options)
    said = press_ctrl_c_at(running, b"epoch 3")
    assert running.returncode == 130
    assert b"Traceback" not in said and f"saved {out}" in said.decode()
    assert not load(out, device="cpu").transform(table()).isna().any(axis=None)


def test_ctrl_c_while_the_variance_is_learned_saves_the_model_and_is_status_130(
    folder: Path,
) -> None:
    out = folder / "without_all_batches"
    options = ["--seed=0", "--device=cpu", *SETTINGS, "--set=variance=crps"]
    running = process("fit", folder / "data.csv", "--out", out, *options)
    said = press_ctrl_c_at(running, b"fit variance")
    assert running.returncode == 130
    assert b"Traceback" not in said and f"saved {out}" in said.decode()
    assert not load(out, device="cpu").transform(table()).isna().any(axis=None)


def test_ctrl_c_while_imputing_writes_nothing_and_is_status_130(
    folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"
    options = ["--samples", "100000", "--out", out, "--device=cpu"]
    running = process("impute", folder / "model", folder / "data.csv", *options)
    said = press_ctrl_c_at(running, b"impute:")
    assert running.returncode == 130
    assert b"Traceback" not in said and list(tmp_path.iterdir()) == []
