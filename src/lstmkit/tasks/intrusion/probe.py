"""A detector as inspection sees it: the last flows of some hosts, and how like an attack they are.

The answer is the log odds of an attack at a host's last flow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor, nn

from lstmkit.errors import UserError
from lstmkit.inspection.probe import Feature, Probe
from lstmkit.inspection.view import Curve
from lstmkit.tasks.intrusion.data import Window, batch
from lstmkit.tasks.intrusion.network import IntrusionNetwork, Sequences
from lstmkit.tasks.intrusion.trace import busiest, windows

if TYPE_CHECKING:
    from lstmkit.readers.flows import Flows
    from lstmkit.tasks.intrusion.estimator import IntrusionDetector

LONGEST = 96  # flows of a host
STUDIED = 48  # hosts


class Suspecting(nn.Module):
    """The network as a function of named arrays: log odds of an attack at every flow (B, T, 1)."""

    def __init__(self, network: IntrusionNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, **flows: Tensor) -> Tensor:
        classes = self.network(Sequences(**flows)).classes
        found: Tensor = classes[..., 1:].logsumexp(-1, keepdim=True) - classes[..., :1]
        return found


def probe(detector: IntrusionDetector, found: Flows, samples: int, only: Sequence[str]) -> Probe:
    """The last flows of so many hosts, the busiest, as many of each.

    Args:
        only: addresses to look at.

    Raises:
        UserError: no such host, or hosts with a single flow only.
    """
    known = [(name, rows) for name, rows in busiest(detector, found, STUDIED) if len(rows) > 1]
    if not known:
        raise UserError("no host has two flows, so there is nothing to look into")
    names = [name for name, _ in known]
    missing = [name for name in only if name not in names]
    if missing:
        raise UserError(f"no busy host {missing[0]!r} to look at", expected=", ".join(names[:5]))
    chosen = [names.index(name) for name in only] or list(range(min(samples, len(names))))
    length = min(LONGEST, *(len(known[k][1]) for k in chosen))
    shown = _inputs(windows(detector, found, [known[k][1][-length:] for k in chosen]))
    study = [rows[-length:] for _, rows in known if len(rows) >= length]
    studied = _inputs(windows(detector, found, study))
    labels = [_labels(found, known[k][1][-length:]) for k in chosen]
    N = len(chosen)
    return Probe(
        network=Suspecting(detector.network_).eval(),
        inputs=shown,
        samples=tuple(names[k] for k in chosen),
        labels=np.stack(labels),
        anchor=np.full(N, length - 1),
        studied=studied,
        studied_anchor=np.full(len(study), length - 1),
        answers=lambda output: output[:, -1],
        answer_names=("attack at the last flow, log odds",),
        scale=np.ones(N),
        features=_features(detector, shown),
        curves=lambda output: _curves(shown, output),
        title=f"IntrusionDetector of {len(detector.classes_)} classes",
        facts=[
            ("task", "intrusion"),
            ("cells", f"{detector.facts_['hidden_size']} in 1 layer"),
            ("reads", "every flow of a host once, a flow a step"),
            ("answers", "how like an attack the host's flows are"),
        ],
        quantity="log odds of an attack",
        step="",
        scoring=None,
        notes=["shown are the last flows of the busiest hosts"],
    )


def _inputs(found: Sequence[Window]) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in batch(found).flows._asdict().items()}


def _labels(found: Flows, rows: np.ndarray) -> np.ndarray:
    return np.array([f"{found['dst'][k]}:{found['dport'][k]}" for k in rows])


def _features(detector: IntrusionDetector, inputs: dict[str, np.ndarray]) -> list[Feature]:
    """Each number, compared with its mean in the training."""
    middle = np.asarray(detector.program_.weights["middle"], np.float32)
    baseline = np.broadcast_to(middle, inputs["numbers"].shape)
    steps = np.arange(inputs["numbers"].shape[1])
    return [
        Feature(name.replace("_", " "), "numbers", (k,), baseline, steps)
        for k, name in enumerate(detector.shape_.numbers)
    ]


def _curves(inputs: dict[str, np.ndarray], output: Any) -> list[Curve]:
    """The bytes that were sent, and the log odds of an attack."""
    odds = output.detach().cpu().numpy()[..., 0]
    x = np.arange(odds.shape[1], dtype=float)
    from lstmkit.tasks.intrusion.features import NUMBERS

    sent = inputs["numbers"][..., NUMBERS.index("src_bytes")]
    return [Curve("log bytes sent", "input", x, sent), Curve("attack", "prediction", x, odds)]
