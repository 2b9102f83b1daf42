"""What the LSTM of hosts did over the last flows of the busiest hosts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.errors import UserError
from lstmkit.tasks.intrusion.data import Corpus, Window, batch

if TYPE_CHECKING:
    from lstmkit.readers.flows import Flows
    from lstmkit.tasks.intrusion.estimator import IntrusionDetector

FIELDS = ("input_gate", "forget_gate", "candidate", "output_gate", "cell")
SHOWN = 256  # flows of a trace, at most


@dataclass(frozen=True)
class DetectorTrace:
    """Gates over the last T flows of N hosts.

    Attributes:
        ids: addresses.
        time: (N, T) datetime64[us]; of a host with fewer flows the last one repeats.
        series: (N, T) bytes that the host sent, log10 of 1 + them.
        layers: field name -> (T, N, H), gates after their nonlinearity, of the LSTM of hosts.
    """

    ids: tuple[str, ...]
    time: np.ndarray
    series: np.ndarray
    layers: tuple[Mapping[str, np.ndarray], ...]

    def plot(self, series: int = 0, layer: int = 0, **options: Any) -> Any:
        """A matplotlib figure of one host, flow by flow, as their times are uneven and go back;
        options as `style.plot_gates`."""
        from lstmkit.style import plot_gates

        fields = {name: values[:, series] for name, values in self.layers[layer].items()}
        return plot_gates(fields, **{"series": self.series[series], **options})

    def _repr_html_(self) -> str:
        from lstmkit.style import html_table

        rows = [
            [str(k), *(f"{layer[f].mean():.3f}" for f in FIELDS)]
            for k, layer in enumerate(self.layers)
        ]
        return html_table(["layer", *(f"mean {f.replace('_', ' ')}" for f in FIELDS)], rows)


def busiest(detector: IntrusionDetector, found: Flows, hosts: int) -> list[tuple[str, np.ndarray]]:
    """Addresses with most flows, and the rows of their last SHOWN ones.

    Raises:
        UserError: single records, which have no hosts.
    """
    if not detector.shape_.hosts:
        raise UserError("single records have no hosts whose flows could be shown in order")
    names, place, counts = np.unique(
        found["src"].astype(str), return_inverse=True, return_counts=True
    )
    chosen = np.argsort(-counts, kind="stable")[:hosts]
    return [(str(names[k]), np.flatnonzero(place == k)[-SHOWN:]) for k in chosen]


def windows(detector: IntrusionDetector, found: Flows, rows: list[np.ndarray]) -> list[Window]:
    """What the network reads of some rows, features counted from the first flow of all."""
    nobody = np.full(len(found), -1)
    corpus = Corpus.of(detector.shape_, found, nobody, np.zeros(0, np.int64))
    return [corpus.window(one) for one in rows]


def record(detector: IntrusionDetector, found: Flows, hosts: int) -> DetectorTrace:
    """Run the network over the last flows; its state begins with the first of them."""
    import torch

    chosen = busiest(detector, found, hosts)
    rows = [one for _, one in chosen]
    network = detector.network_
    with torch.no_grad():
        traced = network.traced(batch(windows(detector, found, rows)).flows)
    most = max(map(len, rows))
    padded = [np.pad(one, (0, most - len(one)), mode="edge") for one in rows]
    micros = np.nan_to_num(found["time"] * 1e6).astype(np.int64).astype("datetime64[us]")
    sent = np.log10(1 + np.nan_to_num(found["src_ip_bytes"]))
    return DetectorTrace(
        tuple(name for name, _ in chosen),
        np.stack([micros[one] for one in padded]),
        np.stack([sent[one] for one in padded]),
        tuple({f: getattr(one, f).numpy() for f in FIELDS} for one in traced),
    )
