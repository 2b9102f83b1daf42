"""A detector as inspection sees it: the last rows of some series, and what it expects of the next.

The answer is the prediction of the last row from those before it, in scales of its channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from lstmkit.errors import UserError
from lstmkit.inspection.probe import Feature, Probe, Scoring
from lstmkit.inspection.view import Curve
from lstmkit.tasks.anomaly.data import CHUNK, Corpus, Part
from lstmkit.tasks.anomaly.network import DetectorNetwork, Rows

if TYPE_CHECKING:
    from lstmkit.readers.tables import Channels, ChannelTable
    from lstmkit.tasks.anomaly.estimator import AnomalyDetector

STUDIED, SCORED = 64, 128  # chunks
JUDGED = 32  # rows at the end of a chunk whose prediction is scored


class Expecting(nn.Module):
    """The network as a function of named arrays: what it expects of every row (B, T, C)."""

    def __init__(self, network: DetectorNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, **rows: Tensor) -> Tensor:
        found: Tensor = self.network(Rows(**rows))[1]
        return found


def probe(
    detector: AnomalyDetector, table: ChannelTable, samples: int, only: Sequence[str]
) -> Probe:
    """The last rows of so many series; scored on chunks of the end of each.

    Args:
        samples: so many series, spread over the table.
        only: names of the series to look at.

    Raises:
        UserError: no series of such a name, or rows too few for one chunk.
    """
    chosen = _chosen(table.series, samples, only)
    corpora = [_corpus(detector, one) for one in table.series]
    length = min(CHUNK, min(len(table.series[k].time) for k in chosen))
    shown = [(k, len(table.series[k].time) - length) for k in chosen]
    inputs = _stack(corpora, shown, length)
    lively = [int(np.argmax(np.abs(inputs["z"][n]).mean(0))) for n in range(len(shown))]
    names = table.channels
    return Probe(
        network=Expecting(detector.network_).eval(),
        inputs=inputs,
        samples=tuple(_name(table.series[k]) for k in chosen),
        labels=np.stack([table.series[k].time[s : s + length].astype(str) for k, s in shown]),
        anchor=np.full(len(shown), length - 2),
        studied=_stack(corpora, spread := _spread(table.series, length, STUDIED), length),
        studied_anchor=np.full(len(spread), length - 2),
        answers=lambda output: output[:, -1],
        answer_names=tuple(f"{name} of the last row" for name in names),
        scale=np.ones(len(shown)),
        features=_features(names, inputs, detector.shape_.cycles),
        curves=lambda output: _curves(names, lively, inputs, output),
        title=f"AnomalyDetector of {len(names)} channel{'s' * (len(names) > 1)}",
        facts=[
            ("task", "anomaly"),
            ("cells", f"{detector.facts_['width']} in {detector.facts_['layers']} layer"),
            ("reads", "every row once, a row a step"),
            ("answers", "what it expects of the last row"),
        ],
        quantity="distance from the level, in scales of the channel",
        step="",
        scoring=_scoring(corpora, table.series, length),
        notes=["shown are the last rows of each series"],
    )


def _corpus(detector: AnomalyDetector, one: Channels) -> dict[str, np.ndarray]:
    shape = detector.shape_
    part = Part(one.values, one.time, shape.number(one.id))
    rows = Corpus.of(shape, np.asarray(detector.program_.weights["scale"]), [part]).rows[0]
    return {name: rows[name] for name in Rows._fields if name in rows}


def _stack(
    corpora: Sequence[dict[str, np.ndarray]], places: Sequence[tuple[int, int]], length: int
) -> dict[str, np.ndarray]:
    return {
        name: np.stack([corpora[k][name][s : s + length] for k, s in places]) for name in corpora[0]
    }


def _spread(series: Sequence[Channels], length: int, count: int) -> list[tuple[int, int]]:
    """Chunks spread over all rows."""
    room = [(k, len(one.time) - length) for k, one in enumerate(series) if len(one.time) >= length]
    each = max(1, count // len(room))
    return [
        (k, int(start))
        for k, last in room[:count]
        for start in np.unique(np.linspace(0, last, each).round().astype(int))
    ]


def _chosen(series: Sequence[Channels], samples: int, only: Sequence[str]) -> list[int]:
    names = [_name(one) for one in series]
    missing = [name for name in only if name not in names]
    if missing:
        raise UserError(f"no series {missing[0]!r} to look at", expected=", ".join(names[:5]))
    if only:
        return [names.index(name) for name in only]
    return sorted({int(k) for k in np.linspace(0, len(series) - 1, min(samples, len(series)))})


def _name(one: Channels) -> str:
    return ", ".join(str(part) for part in one.id) or "the series"


def _features(
    names: Sequence[str], inputs: dict[str, np.ndarray], cycles: Sequence[str]
) -> list[Feature]:
    """Each channel, beside its level, wherever it is read; and the cycles of the calendar."""
    steps = np.arange(inputs["z"].shape[1])
    found = []
    for where in ("z", "last", "past"):
        if where in inputs:
            none = np.zeros_like(inputs[where])
            found += [Feature(name, where, (k,), none, steps) for k, name in enumerate(names)]
    none = np.zeros_like(inputs["calendar"])
    for k, cycle in enumerate(cycles):
        pair = (2 * k, 2 * k + 1)
        found.append(Feature(cycle.replace("_", " "), "calendar", pair, none, steps))
    return found


def _curves(
    names: Sequence[str], lively: Sequence[int], inputs: dict[str, np.ndarray], output: Any
) -> list[Curve]:
    """The channel of each sample that is farthest from its level, and what was expected of it."""
    expected = output.detach().cpu().numpy()
    x = np.arange(expected.shape[1], dtype=float)
    came = np.stack([inputs["z"][n, :, k] for n, k in enumerate(lively)])
    foreseen = np.stack([expected[n, :, k] for n, k in enumerate(lively)])
    what = names[lively[0]] if len(set(lively)) == 1 else "the liveliest channel"
    return [Curve(what, "input", x, came), Curve("expected", "prediction", x, foreseen)]


def _scoring(
    corpora: Sequence[dict[str, np.ndarray]], series: Sequence[Channels], length: int
) -> Scoring | None:
    """The mean absolute error of predictions on chunks of the last fifth of each series."""
    tails = [Part(one.values, one.time, 0).cut for one in series]
    places = [
        (k, int(start))
        for k, cut in enumerate(tails)
        if len(series[k].time) - cut > length
        for start in np.linspace(cut, len(series[k].time) - length, 1 + SCORED // len(series))
    ]
    if not places:
        return None
    given = _stack(corpora, places, length)
    judged = slice(length - JUDGED, None)
    truth, known = torch.from_numpy(given["z"][:, judged]), given["known"][:, judged]
    seen = torch.from_numpy(known)

    def score(output: Any) -> float:
        off = (output[:, judged] - truth).abs() * seen
        return float(off.sum() / seen.sum().clamp(min=1))

    anchor = np.full(len(places), length - 2)
    return Scoring(given, anchor, score, "mean absolute error")
