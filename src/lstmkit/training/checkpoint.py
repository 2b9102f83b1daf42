"""Checkpoints: one safetensors file a run, tensors as they are and everything else as JSON.

weights/NAME, best/NAME       the module's state now and at its best score
average/NAME                  its average over the steps, where the plan asks for one
memory/NAME                   what the batches and the loss carry from step to step
optimizer/INDEX/NAME          the optimizer's tensors per parameter
rng/cpu, rng/cuda             the states of torch's generators, uint8
metadata "lstmkit_training"   what decides the run, history, cursor, what is no tensor
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lstmkit.errors import UserError
from lstmkit.modelfile import read_tensors, write_tensors
from lstmkit.training.average import Average
from lstmkit.training.plan import Cursor, History, TrainingPlan
from lstmkit.training.processes import launch

KEY = "lstmkit_training"
FORMAT = 1
Arrays = dict[str, np.ndarray]


class Memory(Protocol):
    """What is carried from step to step beside the weights, such as the state of a long text."""

    def state_dict(self) -> dict[str, Tensor]:
        """Copies of it, by name."""

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from such copies."""


@dataclass
class Run:
    """All that a run needs in order to go on."""

    module: nn.Module
    optimizer: Optimizer
    history: History
    cursor: Cursor
    best: dict[str, Tensor]
    average: Average
    memory: Memory | None = None


def save(path: Path, run: Run, plan: TrainingPlan) -> None:
    """Write the checkpoint, whole or not at all.

    Raises:
        UserError: it cannot be written, as on a full disk; an older checkpoint is still there.
    """
    tensors = _prefixed("weights", run.module.state_dict()) | _prefixed("best", run.best)
    tensors |= _prefixed("average", run.average.weights)
    tensors |= _prefixed("memory", run.memory.state_dict() if run.memory else {})
    moments, rest = _flatten(run.optimizer.state_dict())
    tensors |= moments | _generators()
    arrays, bits = _to_numpy(tensors)
    facts = {
        "format": FORMAT,
        "decides": plan.decides(),
        "history": asdict(run.history),
        "cursor": asdict(run.cursor),
        "optimizer": rest,
        "bfloat16": bits,
        "averaging": run.average.began,
    }
    if launch():
        facts["launch"] = launch()
    try:
        write_tensors(path, arrays, {KEY: json.dumps(_nulls(facts), allow_nan=False)})
    except OSError as error:
        raise UserError(
            f"cannot write the checkpoint {path}: {error.strerror or error}",
            hint=f"make room or choose another place; {_still_there(path)}",
        ) from error


def _still_there(path: Path) -> str:
    older = path.exists()
    return f"{path} still holds the epoch before: --resume" if older else "nothing was saved yet"


def standing(path: Path | None, plan: TrainingPlan) -> tuple[bool, bool]:
    """Whether `path` was written under the settings of `plan`, and whether under this torchrun.

    Raises:
        UserError: the file is no checkpoint of ours.
    """
    if path is None or not path.exists():
        return False, False
    facts = _facts(path, read_tensors(path)[1])
    return not _differing(facts["decides"], plan.decides()), facts.get("launch") == launch()


def load(path: Path, run: Run, plan: TrainingPlan) -> None:
    """Put the checkpoint's state into `run`, in place, and into torch's generators.

    Raises:
        UserError: no checkpoint of ours, or that of another model or of other settings.
    """
    arrays, metadata = read_tensors(path)
    facts = _facts(path, metadata)
    _same_settings(path, facts["decides"], plan.decides())
    tensors = _to_torch(arrays, facts["bfloat16"])
    _same_shapes(path, _under("weights", tensors), run.module.state_dict())
    if best := _under("best", tensors):
        _same_shapes(path, best, run.module.state_dict())
    try:
        _restore(run, tensors, facts)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise UserError(f"{path} is damaged", got=str(error)) from error


def _restore(run: Run, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    run.history = History(**_history(facts["history"]))
    run.cursor = Cursor(**facts["cursor"])
    run.best = _under("best", tensors)
    run.module.load_state_dict(_under("weights", tensors))
    run.average.restore(_under("average", tensors), facts.get("averaging"))
    if run.memory is not None:
        run.memory.load_state_dict(_under("memory", tensors))
    run.optimizer.load_state_dict(_unflatten(tensors, facts["optimizer"]))
    torch.set_rng_state(tensors["rng/cpu"])
    if "rng/cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["rng/cuda"])


def _facts(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    try:
        facts = json.loads(metadata[KEY])
        known = facts["format"]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is not a training checkpoint") from error
    if known != FORMAT:
        raise UserError(
            f"{path} was written by another version of lstmkit",
            got=f"checkpoint format {known}",
            expected=f"format {FORMAT}",
        )
    missing = {"decides", "history", "cursor", "optimizer", "bfloat16"} - set(facts)
    if missing:
        raise UserError(f"{path} is damaged", got=f"no {', '.join(sorted(missing))}")
    return facts


def _same_settings(path: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    here = json.loads(json.dumps(here))
    if other := _differing(there, here):
        raise UserError(
            f"{path} belongs to another run",
            got=", ".join(f"{name} {here.get(name)}" for name in other),
            expected=", ".join(f"{name} {there.get(name)}" for name in other),
            hint="give the options and data of that run, or leave out --resume to start anew",
        )


def _differing(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    here = json.loads(json.dumps(here))
    return [name for name in {**here, **there} if here.get(name) != there.get(name)]


def _same_shapes(path: Path, there: Mapping[str, Tensor], here: Mapping[str, Tensor]) -> None:
    shapes = [{name: tuple(t.shape) for name, t in side.items()} for side in (there, here)]
    for name in sorted({**shapes[0], **shapes[1]}):
        theirs, ours = (side.get(name) for side in shapes)
        if theirs != ours:
            raise UserError(
                f"{path} belongs to another model",
                got=f"{name} {ours or 'not there'}",
                expected=f"{name} {theirs or 'not there'}",
                hint="give the options of that run, or leave out --resume to start anew",
            )


def _generators() -> dict[str, Tensor]:
    found = {"rng/cpu": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        found["rng/cuda"] = torch.cuda.get_rng_state()
    return found


def _flatten(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimizer's state as tensors by path, and what is no tensor."""
    tensors: dict[str, Tensor] = {}
    rest: dict[str, dict[str, Any]] = {}
    for index, values in state["state"].items():
        for name, value in values.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer/{index}/{name}"] = value
            else:
                rest.setdefault(str(index), {})[name] = value
    return tensors, {"values": rest, "groups": state["param_groups"]}


def _unflatten(tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> dict[str, Any]:
    state = {int(index): dict(values) for index, values in rest["values"].items()}
    for path, tensor in _under("optimizer", tensors).items():
        index, _, name = path.partition("/")
        state.setdefault(int(index), {})[name] = tensor
    return {"state": state, "param_groups": rest["groups"]}


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = prefix + "/"
    return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}


def _to_numpy(tensors: Mapping[str, Tensor]) -> tuple[Arrays, list[str]]:
    """numpy has no bfloat16: those go as their bits, and their names are told."""
    bits = [name for name, tensor in tensors.items() if tensor.dtype == torch.bfloat16]
    plain = {n: t.detach().cpu().contiguous() for n, t in tensors.items()}
    arrays = {n: (t.view(torch.int16) if n in bits else t).numpy() for n, t in plain.items()}
    return arrays, bits


def _to_torch(arrays: Mapping[str, np.ndarray], bits: list[str]) -> dict[str, Tensor]:
    tensors = {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}
    return {n: t.view(torch.bfloat16) if n in bits else t for n, t in tensors.items()}


def _nulls(value: Any) -> Any:
    """JSON has no NaN: null stands for it."""
    if isinstance(value, Mapping):
        return {key: _nulls(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_nulls(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _history(facts: Mapping[str, Any]) -> dict[str, Any]:
    curves = {
        name: [math.nan if value is None else value for value in facts[name]]
        for name in ("train_loss", "scores")
    }
    return {**facts, **curves}
