"""The memory demo: which of two symbols came first, long ago? A plain RNN beside an LSTM.

Temporal order, experiment 6a of Hochreiter & Schmidhuber 1997: among 100 distractors two symbols
matter, about 45 and 85 steps before the answer. Both networks see the same fresh sequences.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstmkit.errors import require

if TYPE_CHECKING:
    from lstmkit.bench.memory.trial import Trial
    from lstmkit.cli.console import Console
    from lstmkit.inspection.horizon import Horizon

TASK = "order-6a"
LABELS = {"rnn": "plain RNN", "lstm": "LSTM"}
THOUSANDS = 12  # of sequences: what the plain RNN is given; the LSTM needs fewer
SAMPLES = 64  # sequences that the horizon is a mean over


def run(folder: Path, console: Console, seed: int, epochs: int | None) -> dict[str, Any]:
    """Train both, say how they did, draw how far back each looks; returns it as JSON values.

    Args:
        epochs: thousands of sequences, fewer for a quick look.
    """
    torch = require("torch", "train")
    from lstmkit.bench.memory.tasks import TASKS

    started, threads = time.monotonic(), torch.get_num_threads()
    folder.mkdir(parents=True, exist_ok=True)
    task = TASKS[TASK]
    console.say("A sequence of 100 to 110 symbols: two of them, X or Y, early and in the middle,")
    console.say("the others chance. At its end: was it XX, XY, YX or YY? (chance: 25 %)")
    torch.set_num_threads(1)  # as small as this, more are slower
    try:
        trials = {}
        outcomes: dict[str, Any] = {}
        for model in LABELS:
            trials[model], outcomes[model] = learn(model, seed, epochs or THOUSANDS, console)
        horizons = {LABELS[model]: horizon(trial) for model, trial in trials.items()}
    finally:
        torch.set_num_threads(threads)
    console.say(f"The paper's LSTM needed {task.paper:,} sequences.")
    for label, found in horizons.items():
        console.say(f"{label}: {found.sentence}")
    pictures = draw(horizons, outcomes, folder)
    console.say(f"how far back each looks:  {pictures['horizon']}")
    console.say(f"({time.monotonic() - started:.0f} s)  next:  lstmkit bench memory --quick")
    for model, label in LABELS.items():
        outcomes[model]["reach"] = horizons[label].reach
    return {
        "task": TASK,
        "paper_sequences": task.paper,
        "outcomes": outcomes,
        "pictures": {name: str(path) for name, path in pictures.items()},
    }


def learn(model: str, seed: int, thousands: int, console: Console) -> tuple[Trial, dict[str, Any]]:
    """A trained network, and how it did on sequences that it never saw."""
    import torch

    from lstmkit.bench.memory.tasks import TASKS
    from lstmkit.bench.memory.trial import Trial

    def watch(seen: int, error: float) -> None:
        if seen // 1000 % 3 == 0:
            console.say(f"  {LABELS[model]}: {seen:,} sequences, mean error {error:.3f}")

    begun = time.monotonic()
    torch.manual_seed(seed)
    trial = Trial.begin(TASKS[TASK], model, seed)
    solved = trial.learn(1000 * thousands, float("inf"), watch)
    rule = trial.task.criterion.test
    errors = trial.test()
    right = 1 - rule.count(errors) / len(errors)
    end = "solved by the paper's rule" if solved else "not solved"
    seconds = time.monotonic() - begun
    console.say(
        f"{LABELS[model]}: {end} after {trial.seen:,} sequences ({seconds:.0f} s); "
        f"{right:.1%} of {len(errors):,} new ones within 0.3 of the right answer"
    )
    return trial, {"solved": solved, "sequences": trial.seen, "right": right}


def horizon(trial: Trial) -> Horizon:
    """The sensitivity of the answer to each earlier step, over fresh sequences."""
    import torch

    from lstmkit.inspection.horizon import gradient_by_lag

    batch = trial.fresh(SAMPLES)
    at = torch.from_numpy(batch.at)
    x = torch.from_numpy(batch.x)
    return gradient_by_lag(trial.network, x, at, anchor=batch.at[:, 0])


def draw(horizons: dict[str, Horizon], outcomes: dict[str, Any], folder: Path) -> dict[str, Path]:
    """The horizons of both, as a PNG file."""
    from lstmkit.inspection.plots import plot_horizons
    from lstmkit.style import save

    rnn, lstm = outcomes["rnn"], outcomes["lstm"]
    note = (
        f"Temporal order (6a of the 1997 paper). Answers within 0.3 of the right one: "
        f"RNN {rnn['right']:.0%} after {rnn['sequences']:,} sequences, "
        f"LSTM {lstm['right']:.0%} after {lstm['sequences']:,}."
    )
    figure = plot_horizons(
        horizons, title="The plain RNN sees the last few steps, the LSTM all of them", note=note
    )
    return {"horizon": save(figure, folder / "horizon.png")}
