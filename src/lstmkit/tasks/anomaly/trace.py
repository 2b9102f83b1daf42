"""What the LSTM of a detector did over the last rows of each series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.tasks.anomaly.data import Corpus, Part
from lstmkit.tasks.anomaly.features import Geometry

if TYPE_CHECKING:
    from lstmkit.readers.tables import Channels, ChannelTable
    from lstmkit.tasks.anomaly.estimator import AnomalyDetector
    from lstmkit.tasks.anomaly.network import Rows

FIELDS = ("input_gate", "forget_gate", "candidate", "output_gate", "cell")
SHOWN = 512  # rows of a trace, at most


@dataclass(frozen=True)
class DetectorTrace:
    """Gates over the last T rows of N series.

    Attributes:
        ids: one per series.
        time: (N, T); of a shorter series the first times repeat the first.
        series: (N, T) the channel whose last rows vary most, in the user's units.
        layers: per layer, field name -> (T, N, H), gates after their nonlinearity.
    """

    ids: tuple[tuple[Any, ...], ...]
    time: np.ndarray
    series: np.ndarray
    layers: tuple[Mapping[str, np.ndarray], ...]

    def plot(self, series: int = 0, layer: int = 0, **options: Any) -> Any:
        """A matplotlib figure of one series; options as `style.plot_gates`."""
        from lstmkit.style import plot_gates

        fields = {name: values[:, series] for name, values in self.layers[layer].items()}
        given = {"time": self.time[series], "series": self.series[series], **options}
        return plot_gates(fields, **given)

    def _repr_html_(self) -> str:
        from lstmkit.style import html_table

        rows = [
            [str(k), *(f"{layer[f].mean():.3f}" for f in FIELDS)]
            for k, layer in enumerate(self.layers)
        ]
        return html_table(["layer", *(f"mean {f.replace('_', ' ')}" for f in FIELDS)], rows)


def last_rows(shape: Geometry, made: Any, series: list[Channels], count: int) -> Rows:
    """What the network reads of the last `count` rows of each series, all of them normalised from
    its beginning: (N, count, .) tensors."""
    import torch

    from lstmkit.tasks.anomaly.network import Rows

    scale = np.asarray(made.weights["scale"])
    found = []
    for one in series:
        part = Part(one.values, one.time, shape.number(one.id))
        rows = Corpus.of(shape, scale, [part]).rows[0]
        short = count - min(count, len(one.time))
        found.append({k: np.pad(v[-count:], ((short, 0), (0, 0))) for k, v in rows.items()})
    names = [name for name in Rows._fields if name in found[0]]
    return Rows(**{n: torch.from_numpy(np.stack([f[n] for f in found])) for n in names})


def record(detector: AnomalyDetector, table: ChannelTable) -> DetectorTrace:
    """Run the network over the last rows; its state begins with the first of them."""
    import torch

    network, series = detector.network_, table.series
    count = min(SHOWN, max(len(one.time) for one in series))
    rows = last_rows(detector.shape_, detector.program_, series, count)
    with torch.no_grad():
        _, _, traced = network.lstm(network.read(rows), trace=True)
    return DetectorTrace(
        tuple(one.id for one in series),
        np.stack([_padded(one.time, count) for one in series]),
        np.stack([_padded(_liveliest(one.values[-count:]), count) for one in series]),
        tuple({f: getattr(one, f).numpy() for f in FIELDS} for one in traced),
    )


def _padded(x: np.ndarray, count: int) -> np.ndarray:
    found: np.ndarray = np.pad(x[-count:], (count - min(count, len(x)), 0), mode="edge")
    return found


def _liveliest(values: np.ndarray) -> np.ndarray:
    """The channel (n,) that varies most, relative to its size."""
    some = np.nan_to_num(np.nanstd(np.where(np.isnan(values).all(0), 0, values), 0))
    size = np.nan_to_num(np.abs(np.where(np.isnan(values), 0, values)).max(0)) + 1e-12
    return values[:, int(np.argmax(some / size))]
