"""`lstmkit export MODEL -o FILE`: ONNX, C, or a model file in fewer bits."""

from __future__ import annotations

from typing import Any

import click

from lstmkit.cli import checks
from lstmkit.cli.console import Console, shared
from lstmkit.errors import UserError

KINDS = {".onnx": "onnx", ".h": "c", ".safetensors": "model"}
MAX_LOSS = 0.01  # of the metric: a hundredth worse


@click.command()
@click.argument("model")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="FILE",
    help=".onnx; .h, a C and C++ header; .safetensors, a model file.",
)
@click.option("--entry", metavar="NAME", help="Which entry point, of a model with several.")
@click.option("--steps", type=click.IntRange(min=1), help="Length of the sequences, in C.")
@click.option(
    "--weights",
    type=click.Choice(("float32", "bfloat16", "int8")),
    help="The numbers that matrices of weights are made of; the model's own if left out.",
)
@click.option(
    "--data", multiple=True, metavar="FILE", help="Data on which fewer bits are measured."
)
@click.option(
    "--max-loss",
    type=click.FloatRange(min=0),
    default=MAX_LOSS,
    show_default=True,
    help="Write nothing where the score on --data gets worse by more than this share.",
)
@shared
def export(
    model: str,
    output: str,
    entry: str | None,
    steps: int | None,
    weights: str | None,
    data: tuple[str, ...],
    max_loss: float,
    as_json: bool,
    quiet: bool,
) -> None:
    """Write MODEL for other systems.

    Before the file appears, ONNX is run in ONNX Runtime beside the model; fewer bits are scored.
    """
    console = Console(quiet)
    checks.readable(model)
    checks.output(output, [model, *data], tuple(KINDS))
    kind = next(k for suffix, k in KINDS.items() if output.lower().endswith(suffix))
    _refuse_idle(kind, entry, steps, weights, data)
    source = checks.inputs(data) if data else None
    from lstmkit.tasks.estimator import load

    estimator: Any = load(model)
    facts: dict[str, Any] = {"output": output}
    if weights is not None:
        estimator, measured = lowered(estimator, weights, source, max_loss)
        facts |= measured
    facts |= WRITERS[kind](estimator, output, entry, steps)
    if as_json:
        console.json(facts)
    else:
        console.data("\n".join(f"{k.replace('_', ' ')}  {v}" for k, v in facts.items()))


def _refuse_idle(
    kind: str, entry: str | None, steps: int | None, weights: str | None, data: tuple[str, ...]
) -> None:
    """Options that would do nothing."""
    if kind == "model" and weights is None:
        raise UserError(
            "the file would be the model again", hint="--weights int8, or -o FILE.onnx or FILE.h"
        )
    if kind == "model" and entry is not None:
        raise UserError("a model file has all entry points", hint="leave out --entry")
    if steps is not None and kind != "c":
        raise UserError("--steps fixes the length of sequences in C", hint="-o FILE.h")
    if weights in (None, "float32") and data:
        raise UserError("--data measures fewer bits", hint="--weights bfloat16 or int8")
    if weights in ("bfloat16", "int8") and not data:
        raise UserError(
            f"what {weights} costs must be measured",
            hint="--data FILE, with rows that the model has not seen",
        )


def lowered(estimator: Any, dtype: str, source: Any, max_loss: float) -> tuple[Any, dict[str, Any]]:
    """The estimator with weights of `dtype`, and what that costs on the data.

    Raises:
        UserError: the score gets worse by more than `max_loss`.
    """
    found = estimator.lowered(dtype)
    if dtype == "float32":
        return found, {"weights": dtype}
    metric = estimator.METRIC
    before, after = (e.evaluate(source).metrics[metric] for e in (estimator, found))
    loss = (after - before if estimator.LOWER_IS_BETTER else before - after) / abs(before or 1.0)
    facts = {
        "weights": dtype,
        "metric": metric,
        "float32": before,
        dtype: after,
        "loss": loss,
        "max_loss": max_loss,
    }
    if not loss <= max_loss:  # NaN is no pass
        raise UserError(
            f"{dtype} weights make the score worse than --max-loss allows; nothing was written",
            got=f"{metric} {before:.6g} becomes {after:.6g}: {loss:+.2%}",
            expected=f"at most {max_loss:+.2%}",
            hint="--weights bfloat16, or a larger --max-loss",
        )
    return found, facts


def _onnx(estimator: Any, output: str, entry: str | None, steps: int | None) -> dict[str, Any]:
    from lstmkit.export.onnx import write

    agreement = write(estimator.program_, output, entry)
    return {
        "checked_at_batch": agreement.batch,
        **({"checked_at_steps": agreement.steps} if estimator.program_.window is None else {}),
        "largest_difference": agreement.difference,
    }


def _c(estimator: Any, output: str, entry: str | None, steps: int | None) -> dict[str, Any]:
    from lstmkit.export.c import write

    write(estimator.program_, output, entry, steps=steps)
    return {}


def _model(estimator: Any, output: str, entry: str | None, steps: int | None) -> dict[str, Any]:
    estimator.save(output)
    return {"bytes": sum(w.nbytes for w in estimator.program_.weights.values())}


WRITERS = {"onnx": _onnx, "c": _c, "model": _model}
