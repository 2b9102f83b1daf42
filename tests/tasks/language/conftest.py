"""A text with long lines to remember, and a small model of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from language_verses import verses


@pytest.fixture(scope="session")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("book") / "book.txt"
    path.write_text(verses(400, 0))
    return path


@pytest.fixture(scope="session")
def words(book: Path) -> Any:
    """Of words, a few seconds old."""
    from lstmkit.tasks.language.estimator import LanguageModel

    options: dict[str, Any] = {"width": 24, "layers": 1, "epochs": 14, "threads": 1, "bptt": 12}
    none = dict.fromkeys(
        ("dropout_embedding", "dropout_input", "dropout_output", "weight_drop"), 0.0
    )
    options |= none
    model = LanguageModel(
        tokens="word", learning_rate=0.03, batch_size=4, precision="float32", **options
    )
    return model.fit(str(book))


@pytest.fixture(scope="session")
def characters(book: Path) -> Any:
    """Of characters."""
    from lstmkit.tasks.language.estimator import LanguageModel

    options: dict[str, Any] = {"width": 24, "layers": 1, "embedding": 8, "epochs": 2, "threads": 1}
    return LanguageModel(learning_rate=0.02, batch_size=8, bptt=20, **options).fit(str(book))
