"""A detector that learnt a small office's day in a few seconds."""

from __future__ import annotations

import office
import pytest

from lstmkit.tasks.intrusion import learning
from lstmkit.tasks.intrusion.estimator import IntrusionDetector


@pytest.fixture(scope="session")
def quick() -> object:
    """Few and small steps, for as long as the session lasts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(learning, "STEPS_PER_EPOCH", 25)
        patch.setitem(learning.PRESETS, "tiny", learning.Preset(12, 6, 16, 5, 10, 1.5e-2))
        yield patch


@pytest.fixture(scope="session")
def detector(quick: object) -> IntrusionDetector:
    """Trained without labels on one day."""
    made = IntrusionDetector(home_net=office.HOME, size="tiny", alerts_per_day=3)
    return made.fit(office.day())
