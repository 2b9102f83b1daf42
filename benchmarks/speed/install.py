"""What `pip install lstmkit` alone costs: bytes beyond numpy, and seconds to import.

    python benchmarks/speed/install.py

Builds a wheel of this checkout, installs it, without a compiler on the path, into a fresh
environment that has numpy, and imports it in fresh processes. The results go to
benchmarks/results/install.json.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from timing import RESULTS

from lstmkit.bench.machine import machine

ROOT = Path(__file__).parent.parent.parent
IMPORT = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
STREAM = "shop,day,sold\na,2024-01-01,3\n"
ROUNDS = 9


def size(folder: Path) -> int:
    """Bytes of all files but compiled Python."""
    files = (f for f in folder.rglob("*") if f.is_file() and f.suffix != ".pyc")
    return sum(f.stat().st_size for f in files)


def seconds(python: Path, module: str) -> float:
    """The median of fresh processes."""
    times = []
    for _ in range(ROUNDS):
        command = [str(python), "-c", IMPORT.format(module)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        times.append(float(done.stdout))
    return round(statistics.median(times), 4)


def main() -> None:
    """Measure and write it down."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", str(ROOT)]
        subprocess.run([*pip, "-w", str(folder)], check=True)
        (wheel,) = folder.glob("*.whl")
        venv.create(folder / "env", with_pip=True)
        python = folder / "env" / "bin" / "python"
        packages = next((folder / "env" / "lib").glob("python*")) / "site-packages"
        install = [str(python), "-m", "pip", "install", "--quiet"]
        subprocess.run([*install, "numpy"], check=True)
        before = size(packages)
        without = {**os.environ, "PATH": str(folder / "env" / "bin"), "CC": "", "CXX": ""}
        subprocess.run([*install, str(wheel)], check=True, env=without)
        found = {
            "machine": machine() | {"command": "python benchmarks/speed/install.py"},
            "wheel_bytes": wheel.stat().st_size,
            "bytes_beyond_numpy": size(packages) - before,
            "import_seconds": {
                m: seconds(python, m) for m in ("numpy", "lstmkit", "lstmkit.runtime")
            },
        }
    (RESULTS / "install.json").write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
