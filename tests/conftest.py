"""Shared by all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def poisoned() -> Iterator[None]:
    """torch.empty gives NaN: an output that nobody wrote cannot pass."""
    import torch

    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(before)
