"""Without an extra every command says which one, and exits 2."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "polars", "lightning", "rich", "matplotlib"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.split(".")[0])
sys.meta_path.insert(0, Block())
from lstmkit.cli.main import main
main()
"""


@pytest.mark.parametrize("verb", ["train", "evaluate", "predict", "demo", "info"])
def test_a_missing_extra_is_named(verb: str, model: Path, sales: Path, tmp_path: Path) -> None:
    words = {
        "train": ["train", "forecast", sales, "--horizon", "7", "-o", tmp_path / "m.safetensors"],
        "evaluate": ["evaluate", model, sales],
        "predict": ["predict", model, sales, "-o", tmp_path / "f.csv"],
        "demo": ["demo", "-o", tmp_path / "demo"],
        "info": ["info", model],
    }[verb]
    done = subprocess.run(
        [sys.executable, "-c", BLOCK, *map(str, words)], capture_output=True, text=True
    )
    if verb == "info":
        assert done.returncode == 0, done.stderr
        return
    assert done.returncode == 2, done.stderr
    assert "pip install 'lstmkit[train]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "f.csv").exists() and not (tmp_path / "m.safetensors").exists()
