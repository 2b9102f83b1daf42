"""What moved an answer: integrated gradients and occlusion, per step and feature.

Both go through Captum (Kokhlikyan et al. 2020) over the whole network in evaluation mode, LSTM
included: our layers are differentiable there too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit.errors import UserError, require
from lstmkit.inspection.modules import evaluating

if TYPE_CHECKING:
    from torch import Tensor, nn

METHODS = ("integrated-gradients", "occlusion")
PATH_STEPS = 48


@dataclass(frozen=True)
class Attribution:
    """What each element of each input added to an answer, beside its baseline.

    Attributes:
        values: by input name, of that input's shape, first axis samples; in units of the answer.
        answer: (N,) of the real inputs.
        baseline: (N,) of the baselines.
        method: one of METHODS.
    """

    values: Mapping[str, np.ndarray]
    answer: np.ndarray
    baseline: np.ndarray
    method: str

    @property
    def gap(self) -> np.ndarray:
        """(N,) answer - baseline - sum of all contributions; 0 where the account is complete
        (Sundararajan, Taly & Yan 2017, proposition 1). Occlusion does not promise that."""
        total = sum(v.reshape(len(v), -1).sum(1) for v in self.values.values())
        found: np.ndarray = self.answer - self.baseline - total
        return found


def attribute(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    *,
    answer: Callable[[Any], Tensor],
    baselines: Mapping[str, Tensor],
    method: str = "integrated-gradients",
    groups: Mapping[str, Tensor] | None = None,
    path_steps: int = PATH_STEPS,
) -> Attribution:
    """Attribute an answer to the inputs that have a baseline; the others are held as they are.

    Args:
        module: called as `module(**inputs)`, samples first.
        inputs: (N, ...) by argument name.
        answer: (N,) one number a sample, from the module's output.
        baselines: (N, ...) what each attributed input is compared with.
        method: "integrated-gradients", or "occlusion": the change when a group of elements takes
            its baseline.
        groups: int64 of the inputs' shapes, first axis 1: elements of one number are occluded
            together, numbers distinct across inputs; every element by itself if left out.
        path_steps: points of the straight path, in several evaluations.

    Raises:
        UserError: an unknown method, or a baseline of another shape.
        MissingExtra: Captum is not installed.
    """
    import torch

    if method not in METHODS:
        raise UserError(f"no method {method!r}", expected=f"one of {', '.join(METHODS)}")
    names, held = list(baselines), {k: v for k, v in inputs.items() if k not in baselines}
    for name in names:
        if name not in inputs or baselines[name].shape != inputs[name].shape:
            raise UserError(f"the baseline of {name!r} has not the shape of the input")

    def forward(*given: Tensor) -> Tensor:
        times = len(given[0]) // N
        rest = {k: v.repeat(times, *[1] * (v.dim() - 1)) for k, v in held.items()}
        return answer(module(**dict(zip(names, given, strict=True)), **rest))

    real, base = (tuple(source[name].detach() for name in names) for source in (inputs, baselines))
    N = len(real[0])
    attr = require("captum.attr", "inspect")
    with evaluating(module):
        if method == METHODS[0]:
            # One sample's whole path a call: N samples times the points of the path.
            found = attr.IntegratedGradients(forward).attribute(
                real, baselines=base, n_steps=path_steps, internal_batch_size=max(N, 64)
            )
        else:
            found = _occlude(attr, forward, real, base, _groups(groups, names, real))
        with torch.no_grad():
            ends = [forward(*given).double().cpu().numpy() for given in (real, base)]
    values = {k: v.detach().double().cpu().numpy() for k, v in zip(names, found, strict=True)}
    return Attribution(values, ends[0], ends[1], method)


def _groups(
    groups: Mapping[str, Tensor] | None, names: list[str], real: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """The number of each element's group, one mask an input."""
    import torch

    if groups is not None:
        return tuple(groups[name] for name in names)
    found, first = [], 0
    for x in real:
        size = x[0].numel()
        found.append(torch.arange(first, first + size).reshape(1, *x.shape[1:]))
        first += size
    return tuple(found)


def _occlude(
    attr: Any,
    forward: Callable[..., Tensor],
    real: tuple[Tensor, ...],
    base: tuple[Tensor, ...],
    masks: tuple[Tensor, ...],
) -> tuple[Tensor, ...]:
    """Captum gives each element its whole group's change: shared out among the group."""
    import torch

    with torch.no_grad():
        found: tuple[Tensor, ...] = attr.FeatureAblation(forward).attribute(
            real, baselines=base, feature_mask=masks, perturbations_per_eval=1
        )
    sizes = torch.bincount(torch.cat([m.reshape(-1) for m in masks]))
    return tuple(f / sizes[m].to(f) for f, m in zip(found, masks, strict=True))
