"""How long a training is going to take."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from lstmkit.tasks.language.shape import Shape

if TYPE_CHECKING:
    from lstmkit.tasks.language.data import Corpus
    from lstmkit.tasks.language.learning import Course

PROBED = 4  # steps that are timed, after one that is not
PROBE_SECONDS = 5.0
GPU_RATE = 20e12  # floating-point operations a second that a data-centre GPU reaches here
GPU_STEP = 60e-6  # seconds that it takes for a time step of a layer, forward and back


def operations(shape: Shape) -> float:
    """Floating-point operations that a token takes in training: three products for each weight."""
    widths = [shape.embedding, *shape.hidden]
    cells = sum(4 * h * (i + h) for i, h in zip(widths, shape.hidden, strict=False))
    if shape.cutoffs:  # the head is met by each token, a tail by few
        answers = shape.hidden[-1] * (shape.cutoffs[0] + len(shape.cutoffs)) * 1.5
    else:
        answers = shape.hidden[-1] * shape.symbols
    return 6.0 * (cells + answers)


def expectations(course: Course, corpus: Corpus) -> list[str]:
    """Lines for people, before the first step."""
    from lstmkit.training import choose_device

    size = sum(p.numel() for p in course.network().parameters())
    lines = [f"{_layers(course.shape)}, {size:,} weights"]
    if course.minutes and not course.epochs:
        return [*lines, f"training for {course.minutes:.3g} minutes"]
    epochs = course.planned_epochs(corpus) or 1
    tokens = len(corpus.tokens) * epochs
    steps = corpus.pieces * epochs
    layers = len(course.shape.hidden)
    gpu = tokens * operations(course.shape) / GPU_RATE
    gpu += steps * course.recipe.bptt * layers * GPU_STEP
    if choose_device(course.device) == "cuda":
        return [*lines, f"{epochs} epochs, about {_spell(gpu)} on a GPU (estimated)"]
    cpu = _seconds_a_step(course, corpus) * steps
    said = f"{epochs} epochs, about {_spell(cpu)} on this CPU, {_spell(gpu)} on a GPU (estimated)"
    return [*lines, said]


def _layers(shape: Shape) -> str:
    hidden = "+".join(map(str, shape.hidden))
    tied = ", answers by the same vectors" if shape.tied else ""
    ways = f", adaptive softmax in {len(shape.cutoffs) + 1} clusters" if shape.cutoffs else ""
    return f"LSTM of {hidden} cells over vectors of {shape.embedding}{tied}{ways}"


def _seconds_a_step(course: Course, corpus: Corpus) -> float:
    """Of a few steps of a network that is then thrown away."""
    import torch

    from lstmkit.tasks.language.data import Carried
    from lstmkit.training import Share
    from lstmkit.training.device import own_process

    network = course.network().train()
    carried = Carried(network)
    spent = []
    with own_process(0, course.plan_threads(), "cpu"):
        for count, batch in enumerate(corpus.batches(course.seed, 0, Share(0, 1))):
            began = time.perf_counter()
            loss = course.loss(network, batch, carried)
            torch.autograd.grad(loss, [p for p in network.parameters() if p.requires_grad])
            spent.append(time.perf_counter() - began)
            if count == PROBED or sum(spent) > PROBE_SECONDS:
                break
    rest = sorted(spent[1:]) or spent
    return rest[len(rest) // 2] * 1.1


def _spell(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
