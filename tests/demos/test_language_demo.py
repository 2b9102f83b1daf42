"""The language demo: whole modules of the library, none of them in two texts, and what is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from lstmkit.cli.console import Console
from lstmkit.demos import language


def test_modules_are_whole_and_in_one_text_each() -> None:
    train, validation, test = language.texts()
    assert len(train) >= language.LEARNT and min(len(validation), len(test)) >= language.HELD
    assert language.texts() == (train, validation, test)
    parts = dict(zip("abc", (train, validation, test), strict=True))
    for path in language.modules()[:60]:
        start = path.read_text("utf-8", "replace")[:2000]
        assert sum(start in text for text in parts.values()) <= 1 or len(start) < 2000


@pytest.mark.slow
def test_the_demo_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "LEARNT", 30_000)
    monkeypatch.setattr(language, "HELD", 5_000)
    monkeypatch.setattr(language, "MODEL", {**language.MODEL, "width": 16, "embedding": 8})
    made = language.run(tmp_path, Console(quiet=True), 0, 1)
    assert {p.name for p in tmp_path.iterdir()} == {
        "learnt.txt", "chosen_by.txt", "scored.txt", "code.safetensors", "surprise.html"
    }  # fmt: skip
    assert made["report"]["metrics"]["bits_per_char"] > 1
    assert set(made["told"]) == set(language.PROMPTS)
