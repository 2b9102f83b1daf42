"""Every Python block of every guide runs, in order, in one namespace per guide."""

from __future__ import annotations

import json
import re
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
GUIDES = sorted((ROOT / "docs" / "guides").rglob("*.md"))


@pytest.mark.slow
@pytest.mark.parametrize("guide", GUIDES, ids=[g.stem for g in GUIDES])
def test_python_blocks_run(guide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", guide.read_text(), re.DOTALL)
    assert blocks, f"{guide} shows no Python"
    namespace: dict[str, object] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for block in blocks:
            exec(compile(block, str(guide), "exec"), namespace)


def test_the_cost_of_looking_is_the_one_that_was_measured() -> None:
    guide = (ROOT / "docs" / "guides" / "inspecting.md").read_text()
    results = ROOT / "benchmarks" / "results"
    rows = json.loads((results / "trace.json").read_text())["rows"]
    for what in ("recording", "observe", "intervene"):
        ratios = [row[f"{what}_ratio"] for row in rows]
        assert f"{min(ratios):.2f} to {max(ratios):.2f} times" in guide
    found = json.loads((results / "report.json").read_text())
    assert f"{found['megabytes']:.1f} MB" in guide and found["megabytes"] < 10
    assert f"in {found['redraw_ms_median']:.0f} ms" in guide
