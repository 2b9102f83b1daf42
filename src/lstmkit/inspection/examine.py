"""One look inside a model: recording, horizon, health, attribution, interventions, report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.errors import UserError
from lstmkit.inspection import health
from lstmkit.inspection.attribution import METHODS, Attribution, attribute
from lstmkit.inspection.cut import cut_by_lag
from lstmkit.inspection.horizon import Horizon, gradient_by_lag, time_constants
from lstmkit.inspection.intervention import Intervention, intervene
from lstmkit.inspection.modules import recurrent
from lstmkit.inspection.record import Recording, observe, recording
from lstmkit.inspection.view import Curve, View

if TYPE_CHECKING:
    from torch import Tensor

    from lstmkit.inspection.probe import Probe, Scoring

NONE = "none"
MOST_CELLS = 10**7  # cells x steps x samples whose gradients fit into a gigabyte or so


@dataclass(frozen=True)
class Change:
    """What interventions did: the same samples, computed with them.

    Attributes:
        interventions: all of them, at once.
        before, after: curves of the answers.
        scores: (before, after) on windows with a known truth, or None.
    """

    interventions: Sequence[Intervention]
    before: Sequence[Curve]
    after: Sequence[Curve]
    scores: tuple[float, float] | None = None

    def means(self) -> list[tuple[float, float]]:
        """(before, after) of each sample's mean answer, in the user's units."""
        pairs = zip(_answer(self.before).y, _answer(self.after).y, strict=True)
        return [(float(np.nanmean(a)), float(np.nanmean(b))) for a, b in pairs]


@dataclass(frozen=True)
class Inspection:
    """What was found; `write` makes the report.

    Attributes:
        probe: what was looked at.
        recording: what the gates did, under the interventions where there are some.
        curves: what was read, answered and came, without interventions.
        horizon: how far back the model looks.
        findings: of the health check.
        attribution: (N, F, T) in the user's units, by `features`, or None.
        features: (F,) names.
        answer: what was attributed.
        gap: (N,) what the attribution leaves unexplained, in the user's units.
        method: of the attribution.
        change: what the interventions did, or None.
    """

    probe: Probe
    recording: Recording
    curves: Sequence[Curve]
    horizon: Horizon
    findings: Sequence[health.Finding]
    attribution: np.ndarray | None = None
    features: tuple[str, ...] = ()
    answer: str = ""
    gap: np.ndarray | None = None
    method: str = NONE
    change: Change | None = None

    def view(self) -> View:
        """Everything that the report shows."""
        from lstmkit.inspection.sections import sections

        curves = list(self.curves)
        if self.change is not None:
            changed = _answer(self.change.after)
            curves.append(replace(changed, kind="changed", name="with the intervention"))
        return View(
            title=self.probe.title,
            facts=self.probe.facts,
            recording=self.recording,
            samples=self.probe.samples,
            labels=self.probe.labels,
            curves=curves,
            quantity=self.probe.quantity,
            anchor=self.probe.anchor,
            attribution=self.attribution,
            features=self.features,
            answer=self.answer,
            sections=sections(self),
        )

    def write(self, path: str | Path) -> Path:
        """The report: one HTML file that needs no network."""
        from lstmkit.inspection import report

        return report.write(self.view(), path)

    def to_dict(self) -> dict[str, Any]:
        """Numbers and findings as JSON values; traces are written by `traces.write`."""
        found: dict[str, Any] = {
            "samples": list(self.probe.samples),
            "layers": list(self.recording.names),
            "horizon": self.horizon.to_dict(),
            "health": [f.to_dict() for f in self.findings],
            "notes": list(self.probe.notes),
        }
        if self.attribution is not None:
            found["attribution"] = {
                "method": self.method,
                "answer": self.answer,
                "features": list(self.features),
                "values": self.attribution,
                "gap": self.gap,
            }
        if self.change is not None:
            found["interventions"] = {
                "made": [str(one) for one in self.change.interventions],
                "mean_answer": self.change.means(),
                "score": self.change.scores,
            }
        return found

    def _repr_html_(self) -> str:
        lines = [self.horizon.sentence, health.summary(self.findings)]
        return "".join(f"<p>{line}</p>" for line in lines)


def inspect(
    probe: Probe,
    *,
    interventions: Sequence[Intervention] = (),
    method: str = METHODS[0],
    answer: int | None = None,
) -> Inspection:
    """Look inside.

    Args:
        probe: `estimator.probe(data)`.
        interventions: all made at once; the gates shown are those under them.
        method: of the attribution: "integrated-gradients", "occlusion" or "none".
        answer: which answer is attributed, from 0; their mean if left out.

    Raises:
        UserError: an intervention or an answer that cannot be.
        MissingExtra: Captum is not installed.
    """
    if answer is not None and not 0 <= answer < len(probe.answer_names):
        raise UserError(
            f"there is no answer {answer + 1}", expected=f"1 to {len(probe.answer_names)}"
        )
    inputs = tensors(probe.inputs)
    plain, curves = _run(probe, inputs)
    few = _as_many_as_fit(probe)
    studied = tensors({name: x[few] for name, x in probe.studied.items()})
    wide = observe(probe.network, **studied)
    horizon = _horizon(probe, studied, probe.studied_anchor[few], wide)
    found = Inspection(probe, plain, curves, horizon, health.check(wide, horizon))
    if interventions:
        found = _changed(found, inputs, interventions)
    return found if method == NONE else _attributed(found, inputs, method, answer)


def _run(probe: Probe, inputs: Mapping[str, Tensor]) -> tuple[Recording, list[Curve]]:
    """What the gates did, and what the answers are."""
    import torch

    with torch.no_grad(), recording(probe.network) as recorder:
        output = probe.network(**inputs)
    return recorder.result(), probe.curves(output)


def tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Arrays as the network takes them."""
    import torch

    return {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in arrays.items()}


def _as_many_as_fit(probe: Probe) -> slice:
    """Of the studied samples: the gradient of cells keeps some thirty numbers a cell and step."""
    cells = sum(
        layer.hidden_size * (1 if is_cell else len(layer.directions()))
        for _, layer, is_cell in recurrent(probe.network)
    )
    fit = MOST_CELLS // max(1, cells * probe.labels.shape[1])
    total = len(probe.studied_anchor)
    return slice(None, None, -(-total // max(1, fit)))


def _horizon(
    probe: Probe, studied: Mapping[str, Any], anchor: np.ndarray, found: Recording
) -> Horizon:
    """Sensitivity of the answers, time constants, and the cost of forgetting."""
    horizon = gradient_by_lag(
        probe.network, anchor=anchor, answer=probe.answers, cells=True, **studied
    )
    cut = None
    if probe.scoring is not None:
        s: Scoring = probe.scoring
        given: dict[str, Any] = tensors(s.inputs)
        cut = cut_by_lag(probe.network, score=s.score, anchor=s.anchor, metric=s.metric, **given)
    return replace(horizon, time_constants=time_constants(found), cut=cut, step=probe.step)


def _changed(
    found: Inspection, inputs: Mapping[str, Tensor], interventions: Sequence[Intervention]
) -> Inspection:
    """The same look with the interventions made: their gates, their answers beside the old ones."""
    probe = found.probe
    with intervene(probe.network, *interventions):
        steered, after = _run(probe, inputs)
        score = _score(probe)
    scores = None
    if score is not None and found.horizon.cut is not None:
        scores = (found.horizon.cut.full, score)
    change = Change(interventions, found.curves, after, scores)
    return replace(found, recording=steered, change=change)


def _score(probe: Probe) -> float | None:
    """The score of the network as it is now, where there is something to score."""
    import torch

    if probe.scoring is None:
        return None
    with torch.no_grad():
        return probe.scoring.score(probe.network(**tensors(probe.scoring.inputs)))


def _answer(curves: Sequence[Curve]) -> Curve:
    """The curve that holds the answer."""
    return next(c for c in curves if c.kind == "prediction")


def _attributed(
    found: Inspection, inputs: Mapping[str, Tensor], method: str, answer: int | None
) -> Inspection:
    """The answer's account, by feature and LSTM step, in the user's units."""
    import torch

    probe = found.probe

    def chosen(output: Any) -> Tensor:
        answers = probe.answers(output)
        return answers.mean(1) if answer is None else answers[:, answer]

    baselines = tensors({f.input: f.baseline for f in probe.features})
    groups, names = _groups(probe)
    account = attribute(
        probe.network,
        inputs,
        answer=chosen,
        baselines=baselines,
        method=method,
        groups={k: torch.from_numpy(v) for k, v in groups.items()},
    )
    said = "the mean of all answers" if answer is None else probe.answer_names[answer]
    return replace(
        found,
        attribution=_by_step(probe, account, names),
        features=names,
        answer=said,
        gap=account.gap * probe.scale,
        method=method,
    )


def _groups(probe: Probe) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """A number for each (feature, step), in the shape of each input; and the features' names."""
    names = tuple(dict.fromkeys(f.name for f in probe.features))
    T = probe.labels.shape[1]
    masks = {f.input: np.full((1, *f.baseline.shape[1:]), len(names) * T) for f in probe.features}
    for f in probe.features:
        number = names.index(f.name) * T + f.steps
        if f.columns is None:
            masks[f.input][0] = number.reshape(-1, *[1] * (f.baseline.ndim - 2))
        else:
            masks[f.input][0][:, list(f.columns)] = number[:, None]
    return masks, names


def _by_step(probe: Probe, account: Attribution, names: tuple[str, ...]) -> np.ndarray:
    """(N, F, T): what the elements of each feature and step add up to."""
    total = np.zeros((len(probe.samples), len(names), probe.labels.shape[1]))
    for f in probe.features:
        values = account.values[f.input]
        part = values if f.columns is None else values[..., list(f.columns)]
        by_position = part.reshape(*part.shape[:2], -1).sum(-1)  # (N, L)
        np.add.at(total[:, names.index(f.name)].swapaxes(0, 1), f.steps, by_position.T)
    return total * probe.scale[:, None, None]
