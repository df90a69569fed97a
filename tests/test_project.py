"""What holds for the whole tree: layers, lazy imports, docstrings, no unsafe or local file."""

from __future__ import annotations

import ast
import inspect
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path

import numpydoc.validate
import pytest

import tsimpute

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "tsimpute"

# From bottom to top. A module may import from its own layer and from those below, never upwards.
LAYERS = (
    ("errors", "arguments", "storage"),
    ("panel", "diffusion"),
    ("denoiser", "samplers"),
    ("training", "evaluation"),
    ("settings", "model", "pooling"),
    ("sampling",),
    ("fitting",),
    ("assessment",),
    ("widths",),
    ("imputer",),
    ("persistence", "plotting", "datasets", "files", "neighbours"),
    ("client", "cli", "demo", "__main__"),
)
RANK = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}

# The one arrow that may point up, and only from inside a function: the estimator saves itself.
LAZY_UPWARDS = {("imputer", "persistence")}

# ------------------------------------------------------------------------------- imports by ast


@dataclass(frozen=True)
class Import:
    """One `import` of one module."""

    source: str  # dotted name of the module that imports, e.g. "tsimpute.panel.windows"
    target: str  # dotted name of what is imported
    line: int
    in_function: bool

    def __str__(self) -> str:
        return f"{self.source}:{self.line} imports {self.target}"


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def modules() -> dict[str, Path]:
    return {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def walk(node: ast.AST, in_function: bool = False) -> Iterator[tuple[ast.AST, bool]]:
    for child in ast.iter_child_nodes(node):
        yield child, in_function
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        yield from walk(child, in_function or is_function)


def targets_of(node: ast.AST, source: str, is_package: bool, known: set[str]) -> list[str]:
    """Modules that an import statement names; `from a import b` names a.b where that is one."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = node.module or ""
    if node.level:
        stem = source.split(".")[: len(source.split(".")) - node.level + is_package]
        base = ".".join([*stem, *([node.module] if node.module else [])])
    inner = [f"{base}.{alias.name}" for alias in node.names]
    return [name if name in known or name == "tsimpute.__version__" else base for name in inner]


def imports_in(text: str, source: str, is_package: bool, known: set[str]) -> list[Import]:
    return [
        Import(source, target, node.lineno, in_function)
        for node, in_function in walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for target in targets_of(node, source, is_package, known)
    ]


def all_imports() -> list[Import]:
    known = modules()
    return [
        found
        for source, path in known.items()
        for found in imports_in(
            path.read_text("utf-8"), source, path.name == "__init__.py", set(known)
        )
    ]


def part(module: str) -> str | None:
    """Second piece of a dotted name within the package; None for the root and for others."""
    pieces = module.split(".")
    return pieces[1] if pieces[0] == "tsimpute" and len(pieces) > 1 else None


def points_up(found: Import) -> bool:
    source, target = part(found.source), part(found.target)
    if found.target.split(".")[0] == "api":
        return True
    if source is None or found.target.split(".")[0] != "tsimpute":
        return False  # the root module is a façade over every layer; other packages are no layer
    if found.target == "tsimpute.__version__" or target == source:
        return False
    if target is None or source not in RANK or target not in RANK:
        return target is None  # the façade stands above all layers; see also the test for homes
    lazily = found.in_function and (source, target) in LAZY_UPWARDS
    return RANK[target] > RANK[source] and not lazily


# ------------------------------------------------------------------------------------ direction


def test_every_module_has_a_layer() -> None:
    homeless = sorted({part(name) for name in modules()} - {None} - set(RANK))
    assert not homeless, f"name a layer in tests/test_project.py for {homeless}"


def test_no_import_points_up() -> None:
    assert not [str(found) for found in all_imports() if points_up(found)]


def test_parts_of_the_package_import_each_other_without_cycles() -> None:
    graph: dict[str, set[str]] = {}
    for found in all_imports():
        source, target = part(found.source), part(found.target)
        lazily = found.in_function and (source, target) in LAZY_UPWARDS
        if source in RANK and target in RANK and source != target and not lazily:
            graph.setdefault(source, set()).add(target)
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the cycle


def test_panel_is_a_leaf_without_torch() -> None:
    own = [found for found in all_imports() if part(found.source) == "panel"]
    assert not [
        str(found)
        for found in own
        if found.target.split(".")[0] == "torch"
        or part(found.target) not in (None, "panel", "errors", "arguments")
    ]


def test_samplers_know_neither_the_network_nor_the_step_mask() -> None:
    own = [found for found in all_imports() if part(found.source) == "samplers"]
    assert not [
        str(found)
        for found in own
        if part(found.target) == "denoiser"
        or (part(found.target) == "diffusion" and found.target != "tsimpute.diffusion.schedule")
    ]


@pytest.mark.parametrize(
    ("text", "source", "wrong"),
    [
        ("from tsimpute.imputer import EDDPMImputer", "tsimpute.training.loop", True),
        ("from tsimpute import training", "tsimpute.samplers.ddim", True),
        ("from ..training import loop", "tsimpute.samplers.ddim", True),
        ("from tsimpute import load", "tsimpute.imputer", True),
        ("import api.main", "tsimpute.cli", True),
        ("from tsimpute.persistence import save", "tsimpute.imputer", True),
        ("def f():\n    from tsimpute.persistence import save", "tsimpute.imputer", False),
        ("def f():\n    from tsimpute.demo import main", "tsimpute.imputer", True),
        ("from tsimpute import __version__", "tsimpute.persistence", False),
        ("from tsimpute.errors import InputError", "tsimpute.panel.windows", False),
        ("from . import ddim", "tsimpute.samplers.pndm", False),
        ("import torch", "tsimpute.samplers.ddim", False),
    ],
)
def test_the_rule_itself(text: str, source: str, wrong: bool) -> None:
    known = {"tsimpute.training", "tsimpute.training.loop", "tsimpute.samplers.ddim"}
    assert any(points_up(found) for found in imports_in(text, source, False, known)) is wrong


# --------------------------------------------------------------------------------- import, names


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return done.stdout


def test_importing_the_package_is_quick() -> None:
    code = "import time; t = time.perf_counter(); import tsimpute; print(time.perf_counter() - t)"
    assert min(float(run_python(code)) for _ in range(3)) < 1.0


def test_importing_the_package_loads_no_heavy_dependency() -> None:
    heavy = ["torch", "numpy", "pandas", "xarray", "sklearn", "scipy", "matplotlib", "dask"]
    code = (
        f"import sys, json, tsimpute; print(json.dumps([m for m in {heavy} if m in sys.modules]))"
    )
    assert json.loads(run_python(code)) == []


def test_version_is_written_in_one_place() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+([.-]?\w+)?", tsimpute.__version__)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    assert "version" not in project["project"]
    assert project["tool"]["hatch"]["version"]["path"] == "tsimpute/__init__.py"
    assert f"## {tsimpute.__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


@pytest.mark.parametrize("name", tsimpute.__all__)
def test_every_public_name_can_be_had(name: str) -> None:
    assert name in dir(tsimpute)
    assert getattr(tsimpute, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'EDDPMImputr'"):
        _ = tsimpute.EDDPMImputr


# ------------------------------------------------------------------------------------ docstrings

# numpydoc's codes: GL08 no docstring; PR01/PR02/PR03 parameters undocumented, unknown, out of
# order; PR10 colon; RT01 no Returns section; SS03/SS05/SS06 shape of the summary.
DOCSTRING_RULES = {"GL08", "PR01", "PR02", "PR03", "PR10", "RT01", "SS03"}


def public_objects(name: str) -> list[str]:
    """Dotted names of a public object and of the public methods that its class adds."""
    value = getattr(tsimpute, name)
    home = f"{value.__module__}.{name}"
    if not inspect.isclass(value):
        return [home]
    own = [
        method
        for base in value.__mro__
        if base.__module__.startswith("tsimpute")
        for method, member in vars(base).items()
        if not method.startswith("_") and (callable(member) or isinstance(member, classmethod))
    ]
    return [home, *(f"{home}.{method}" for method in own)]


@pytest.mark.parametrize("name", [name for name in tsimpute.__all__ if name != "__version__"])
def test_public_docstrings_are_complete(name: str) -> None:
    mistakes = [
        f"{dotted}: {code} {message}"
        for dotted in public_objects(name)
        for code, message in numpydoc.validate.validate(dotted)["errors"]
        if code in DOCSTRING_RULES
    ]
    assert not mistakes


# -------------------------------------------------------------------- nothing unsafe, nothing local

UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
UNSAFE_CALLS = {"read_pickle", "to_pickle"}


def unsafe_in(text: str) -> list[str]:
    """What in a source text could run code that hides in a file."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
            found += [name for name in names if name.split(".")[0] in UNSAFE_MODULES]
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        if called == "torch.load" and keywords.get("weights_only") != "True":
            found.append(f"line {node.lineno}: torch.load without weights_only=True")
        if keywords.get("allow_pickle", "False") != "False":
            found.append(f"line {node.lineno}: {called} with allow_pickle")
        if called.split(".")[-1] in UNSAFE_CALLS:
            found.append(f"line {node.lineno}: {called}")
    return found


@pytest.mark.parametrize("path", modules().values(), ids=modules().keys())
def test_no_file_is_loaded_in_a_way_that_can_run_code(path: Path) -> None:
    assert not unsafe_in(path.read_text("utf-8"))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("import pickle", True),
        ("from joblib import load", True),
        ("torch.load(p)", True),
        ("torch.load(p, weights_only=False)", True),
        ("torch.load(p, map_location='cpu', weights_only=True)", False),
        ("numpy.load(p, allow_pickle=True)", True),
        ("numpy.load(p, allow_pickle=False)", False),
        ("pd.read_pickle(p)", True),
    ],
)
def test_the_rule_on_unsafe_files_itself(text: str, wrong: bool) -> None:
    assert bool(unsafe_in(text)) is wrong


TOP_FOLDERS = ("tsimpute", "api", "tests", "benchmarks", "docs", "data", ".ci")
TEXT_SUFFIXES = {
    ".py",
    ".md",
    ".toml",
    ".lock",
    ".json",
    ".yml",
    ".yaml",
    ".html",
    ".js",
    ".sh",
    "",
}
MACHINE_PATH = re.compile(
    r"(?<![\w.:/-])/(?:work|root|farm|tmp|home|Users)/\w|file://|\b[A-Z]:\\\w"
)


def text_files() -> Iterator[Path]:
    inside = [path for folder in TOP_FOLDERS for path in (ROOT / folder).rglob("*")]
    for path in [*ROOT.iterdir(), *inside]:
        kept = not {"_build", "__pycache__", ".cache"} & set(path.parts) and path.name != ".git"
        if kept and path.is_file() and path.suffix in TEXT_SUFFIXES:
            yield path


def test_no_file_names_a_path_of_one_machine() -> None:
    this = Path(__file__).resolve()
    assert not [
        f"{path.relative_to(ROOT)}: {hit.group()}"
        for path in text_files()
        if path != this
        for hit in MACHINE_PATH.finditer(path.read_text("utf-8", errors="replace"))
    ]


def test_the_rule_on_paths_itself() -> None:
    assert MACHINE_PATH.search("open('" + "/ho" + "me/someone/x.csv')")
    assert not MACHINE_PATH.search("see docs/home/index and https://example.org/home/page")


def test_the_lock_pins_everything_and_names_no_place() -> None:
    lines = (ROOT / "requirements.lock").read_text("utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [line for line in pins if not re.fullmatch(r"[\w.-]+==\d[\w.]*", line)] == []
    assert "torch==2.13.0" in pins
    assert not [line for line in pins if re.match(r"nvidia|cuda|triton=", line)]
