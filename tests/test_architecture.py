"""DESIGN's table of rooms: who may import whom, and which rooms run without torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "src" / "lstmkit"

# Alphabet of the house: every room may import these.
COMMON = {"errors", "notation"}
KERNEL_PARTS = {"kernels.contract", "kernels.masks"}
FEATURES = {"readers", "text", "calibration", "program", "modelfile", "runtime"}
TASK = {"kernels", "layers", "equations", "text", "calibration", "evaluation", "readers"}
TASK |= {"training", "program", "operations", "recurrence", "modelfile", "runtime", "tasks"}
TASK |= {"style", "lowprecision", "inspection.probe", "inspection.view"}

# Longest prefix wins. A room may import itself, COMMON, and what is listed.
MAY: dict[str, set[str]] = {
    "errors": set(),
    "notation": set(),
    "engine": {"_native"},
    "equations": set(),
    "operations": {"equations"},
    "recurrence": {"equations", "operations"},
    "program": {"equations", "operations", "recurrence", "validation"},
    "validation": {"program", "operations"},
    "lowprecision": {"program", "operations"},
    "modelfile": {"program", "lowprecision"},
    "style": {"modelfile"},
    "inspection.probe": set(),
    "inspection.view": set(),
    "inspection": {"layers", "equations", "modelfile", "tasks.catalog", "style", "readers"},
    "kernels": {"equations", "kernels"},
    "kernels.contract": set(),
    "kernels.masks": {"equations", "kernels.contract"},
    "kernels.recover": {"equations", "kernels.contract"},
    "kernels.packing": set(),
    "kernels.reference": KERNEL_PARTS | {"equations"},
    "kernels.native": {"kernels.contract", "engine"},
    "kernels.vendor": {"kernels.contract", "kernels.packing"},
    "layers": {"kernels", "equations", "style", "program"},
    "text": set(),
    "calibration": set(),
    "evaluation": {"style"},
    "readers": {"modelfile", "engine"},
    "training": {"modelfile"},
    "tasks": TASK,
    "tasks.forecast.features": FEATURES,
    "tasks.forecast.carried": FEATURES | {"tasks.forecast.features"},
    "tasks.forecast.stream": FEATURES
    | {"tasks.forecast.features", "tasks.forecast.carried", "tasks.stream"},
    "tasks.anomaly.features": FEATURES,
    "tasks.anomaly.scores": FEATURES,
    "tasks.anomaly.alerts": FEATURES,
    "tasks.anomaly.watch": FEATURES
    | {"tasks.anomaly.features", "tasks.anomaly.scores", "tasks.anomaly.alerts"},
    "tasks.anomaly.stream": FEATURES
    | {"tasks.anomaly.features", "tasks.anomaly.alerts", "tasks.anomaly.watch", "tasks.stream"},
    "tasks.intrusion.places": FEATURES,
    "tasks.intrusion.table": FEATURES,
    "tasks.intrusion.features": FEATURES | {"tasks.intrusion.places", "tasks.intrusion.table"},
    "tasks.intrusion.program": FEATURES | {"tasks.intrusion.features"},
    "tasks.intrusion.levels": FEATURES,
    "tasks.intrusion.watch": FEATURES
    | {"tasks.intrusion.features", "tasks.intrusion.program", "tasks.intrusion.table"},
    "tasks.intrusion.reasons": FEATURES | {"tasks.intrusion.features", "tasks.intrusion.watch"},
    "tasks.intrusion.alerts": FEATURES
    | {"tasks.intrusion.levels", "tasks.intrusion.reasons", "tasks.intrusion.watch"},
    "tasks.intrusion.suppress": set(),
    "tasks.intrusion.records": set(),
    "tasks.intrusion.guard": FEATURES,
    "tasks.intrusion.stream": FEATURES
    | {f"tasks.intrusion.{part}" for part in ("alerts", "features", "suppress", "watch")}
    | {"tasks.stream"},
    "tasks.language.features": FEATURES,
    "tasks.language.shape": set(),
    "tasks.language.corpus": FEATURES,
    "tasks.language.program": FEATURES | {"operations", "tasks.language.shape"},
    "tasks.language.kneser_ney": set(),
    "tasks.language.baselines": {"tasks.language.kneser_ney"},
    "tasks.language.stream": FEATURES | {"tasks.language.features", "tasks.stream"},
    "tasks.stream": {"program", "modelfile", "readers"},
    "runtime": {
        "program",
        "operations",
        "recurrence",
        "lowprecision",
        "modelfile",
        "equations",
        "engine",
    },
    "export": {"program", "operations", "recurrence", "lowprecision", "modelfile"},
    "demos": {"*"},
    "bench": {"*"},
    "cli": {"*"},
    "__main__": {"cli"},
    "": {"*"},
}

# External packages that a room must never import at module level ("!" : nor inside functions).
TORCH = {"torch", "lightning"}
FORBIDDEN: dict[str, set[str]] = {
    "notation": TORCH | {"polars"},
    "program": TORCH | {"polars"},
    "operations": TORCH | {"polars"},
    "recurrence": TORCH | {"polars"},
    "validation": TORCH | {"polars"},
    "modelfile": TORCH | {"polars"},
    "readers": TORCH,
    "lowprecision": TORCH | {"polars"},
    "runtime": TORCH | {"polars"},
    "tasks.stream": TORCH | {"polars"},
    "export": TORCH | {"polars"},
    "tasks.forecast.features": TORCH | {"polars"},
    "tasks.forecast.stream": TORCH | {"polars"},
    "tasks.forecast.carried": TORCH | {"polars"},
    "tasks.anomaly.features": TORCH | {"polars"},
    "tasks.anomaly.scores": TORCH | {"polars"},
    "tasks.anomaly.alerts": TORCH | {"polars"},
    "tasks.anomaly.watch": TORCH | {"polars"},
    "tasks.anomaly.stream": TORCH | {"polars"},
}
INTRUSION = ("places", "table", "features", "program", "levels", "watch", "reasons", "alerts")
INTRUSION += ("suppress", "records", "guard", "stream")
FORBIDDEN |= {f"tasks.intrusion.{part}": TORCH | {"polars"} for part in INTRUSION}
LANGUAGE = ("features", "shape", "corpus", "program", "kneser_ney", "baselines", "stream")
FORBIDDEN |= {f"tasks.language.{part}": TORCH | {"polars"} for part in LANGUAGE}
FORBIDDEN |= {"text": TORCH | {"polars"}}
# The parts of the table reader; readers.tables is its door.
POLARS_ROOMS = {"readers.tables", "readers.columns", "readers.files", "readers.timestamps"}
POLARS_ROOMS |= {"readers.layouts", "readers.covariate_columns", "readers.future"}
POLARS_ROOMS |= {"readers.frames", "readers.channels", "readers.channel_columns", "readers.labels"}
TORCH_FREE = ["lstmkit", "lstmkit.errors", "lstmkit.notation", "lstmkit.equations.lstm"]
TORCH_FREE += ["lstmkit.equations.philox", "lstmkit.program", "lstmkit.modelfile"]
TORCH_FREE += [
    "lstmkit.operations",
    "lstmkit.validation",
    "lstmkit.engine",
    "lstmkit.readers.calendar",
    "lstmkit.tasks.catalog",
]
TORCH_FREE += ["lstmkit.runtime", "lstmkit.readers.lines", "lstmkit.tasks.forecast.stream"]
TORCH_FREE += ["lstmkit.export", "lstmkit.export.onnx"]
TORCH_FREE += ["lstmkit.tasks.estimator", "lstmkit.tasks.forecast.features"]
TORCH_FREE += ["lstmkit.tasks.forecast.estimator", "lstmkit.cli.main"]
TORCH_FREE += ["lstmkit.tasks.anomaly.estimator", "lstmkit.tasks.anomaly.stream"]
TORCH_FREE += [f"lstmkit.tasks.intrusion.{part}" for part in ("estimator", "stream", "records")]
TORCH_FREE += [f"lstmkit.tasks.language.{part}" for part in ("estimator", "stream", "corpus")]
TORCH_FREE += ["lstmkit.text.tokenizers", "lstmkit.readers.texts", "lstmkit.runtime.generation"]
TORCH_FREE += ["lstmkit.readers.flows.files", "lstmkit.readers.flows.following"]


def modules() -> list[tuple[str, Path]]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        found.append((".".join(parts), path))
    return found


def room_of(name: str, table: dict) -> str:
    """The longest entry of `table` that is `name` or contains it."""
    while name not in table and name:
        name = name.rpartition(".")[0]
    return name


def imports(path: Path) -> list[tuple[str, bool]]:
    """(module, at module level) of every import statement, TYPE_CHECKING blocks left out."""
    tree = ast.parse(path.read_text())
    skipped = set()
    inside = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            skipped |= {id(n) for n in ast.walk(node)}
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            inside |= {id(n) for n in ast.walk(node)}
    found = []
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) not in inside) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [(name, id(node) not in inside) for name in names]
    return found


def allowed(name: str, target: str) -> bool:
    room = room_of(name, MAY)
    may = MAY[room] | COMMON
    same = target == room or target.startswith(room + ".") if room else True
    return same or "*" in may or any(target == m or target.startswith(m + ".") for m in may)


@pytest.mark.parametrize(("name", "path"), modules(), ids=[n or "lstmkit" for n, _ in modules()])
def test_imports_follow_the_table(name: str, path: Path) -> None:
    for target, _ in imports(path):
        if target.split(".")[0] == "lstmkit" and target != "lstmkit":
            inner = target.removeprefix("lstmkit.")
            known = {n for n, _ in modules()} | {"_native"}
            while inner and inner not in known:  # a name inside a module
                inner = inner.rpartition(".")[0]
            assert not inner or allowed(name, inner), f"{name} must not import {target}"


@pytest.mark.parametrize(("name", "path"), modules(), ids=[n or "lstmkit" for n, _ in modules()])
def test_external_packages_stay_in_their_rooms(name: str, path: Path) -> None:
    never = FORBIDDEN.get(room_of(name, FORBIDDEN), set()) if name else set()
    for target, _ in imports(path):
        package = target.split(".")[0]
        assert package not in never, f"{name} must not import {package}"
        if package == "polars":
            assert name in POLARS_ROOMS, name


def test_every_room_is_in_the_table() -> None:
    rooms = {name.split(".")[0] for name, _ in modules() if name}
    assert rooms <= {room.split(".")[0] for room in MAY if room}


def test_no_task_imports_another() -> None:
    tasks = {path.name for path in (PACKAGE / "tasks").iterdir() if path.is_dir()}
    for name, path in modules():
        if not name.startswith("tasks.") or name.count(".") < 2:
            continue
        task = name.split(".")[1]
        for target, _ in imports(path):
            parts = target.removeprefix("lstmkit.").split(".")
            other = parts[0] == "tasks" and len(parts) > 1 and parts[1] in tasks - {task}
            assert not other, f"{name} imports {target}"


def test_the_table_has_teeth() -> None:
    assert not allowed("kernels.vendor.forward", "kernels.reference")
    assert not allowed("program", "layers.lstm")
    assert not allowed("layers.lstm", "tasks.catalog")
    assert not allowed("readers.tables", "tasks.forecast.features")
    assert allowed("layers.lstm", "kernels.operators")


def test_torch_free_rooms_run_where_torch_is_blocked() -> None:
    blocked = ("torch", "polars", "lightning", "matplotlib", "rich", "pandas")
    code = f"""
import importlib, sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(name, name=name.split(".")[0])
sys.meta_path.insert(0, Block())
for name in {TORCH_FREE!r}:
    importlib.import_module(name)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_import_lstmkit_loads_no_heavy_package() -> None:
    code = """
import sys
import lstmkit
heavy = {"torch", "numpy", "polars", "click", "safetensors"} & set(sys.modules)
assert not heavy, heavy
import lstmkit.cli.main
heavy = {"torch", "numpy", "polars", "lightning", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
