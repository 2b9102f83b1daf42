"""Every Python block of every guide runs, in order, in one namespace per guide."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest

GUIDES = sorted((Path(__file__).parent.parent.parent / "docs" / "guides").rglob("*.md"))


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
