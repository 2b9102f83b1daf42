"""Many trials at once, in processes; rows are kept as they come, so that none is run twice."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lstmkit.bench.memory import MODELS
from lstmkit.bench.memory.tasks import TASKS, Task, lag_tasks
from lstmkit.errors import UserError

TRIALS = "trials.jsonl"
QUICK = ("reber", "lag-2c-q50-p50", "adding-T100", "order-6a")
QUICK_MOST = 20_000  # sequences of what fails, under --quick

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """One trial.

    Attributes:
        most: gives up after so many sequences; as the task says if None.
        minutes: gives up after so long.
    """

    task: str
    model: str
    seed: int
    most: int | None = None
    minutes: float = 3.0

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes two trials the same."""
        return (self.task, self.model, self.seed, self.most, self.minutes)


def bench(
    tasks: Sequence[str] = (),
    models: Sequence[str] = MODELS,
    seeds: int = 10,
    first: int = 0,
    workers: int | None = None,
    minutes: float = 3.0,
    most: int | None = None,
    folder: Path | None = None,
    quick: bool = False,
    lags: bool = False,
    say: Say = print,
) -> dict[str, Any]:
    """Runs what `folder` does not hold yet; {"machine", "rows"}, a row a trial.

    Args:
        tasks: names from TASKS, all if none; only the quick ones under `quick`.
        seeds, first: so many seeds from the first one on.
        lags: also the sweep over lags that the picture shows.
        most, minutes: a trial that has learnt nothing by then gives up, and its row says so.
        folder: where trials.jsonl is kept; rows in it are not run again.
    """
    from lstmkit.bench.machine import machine

    names = list(tasks) or list(QUICK if quick else TASKS)
    if quick:
        seeds, minutes, most = min(seeds, 1), min(minutes, 0.5), most or QUICK_MOST
    names += [task.name for task in lag_tasks()] if lags else []
    plans = [
        Plan(n, m, s, most, minutes)
        for s in range(first, first + seeds)
        for m in models
        for n in names
    ]
    return {"machine": machine(), "rows": run(plans, workers, folder, say)}


def run(
    plans: Sequence[Plan], workers: int | None = None, folder: Path | None = None, say: Say = print
) -> list[dict[str, Any]]:
    """The rows of all plans, in their order; those that `folder` holds are read, not run."""
    done = {key(row): row for row in stored(folder)} if folder else {}
    left = [plan for plan in plans if plan.key not in done]
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
        if len(left) < len(plans):
            say(f"{len(plans) - len(left)} of {len(plans)} trials are in {folder} already")
    for count, row in enumerate(rows_of(left, workers or default_workers()), 1):
        done[key(row)] = row
        if folder:
            with (folder / TRIALS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        say(f"[{count}/{len(left)}] {in_words(row)}")
    return [done[plan.key] for plan in plans]


def rows_of(plans: Sequence[Plan], workers: int) -> Iterator[dict[str, Any]]:
    """Rows as they come; in this process where one worker is enough."""
    if workers == 1 or len(plans) < 2:
        yield from map(one, plans)
        return
    # "spawn": a fork would copy the thread pools of this process, which do not survive it.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(plans)), mp_context=context) as pool:
        for future in as_completed([pool.submit(one, plan) for plan in plans]):
            yield future.result()


def one(plan: Plan) -> dict[str, Any]:
    """One trial on one thread."""
    import torch

    from lstmkit.bench.memory import trial

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        row = trial.run(
            find(plan.task), plan.model, plan.seed, most=plan.most, minutes=plan.minutes
        )
    finally:
        torch.set_num_threads(before)
    return row | {"limits": {"most": plan.most, "minutes": plan.minutes}}


def find(name: str) -> Task:
    """The task of that name.

    Raises:
        UserError: there is none.
    """
    known = dict(TASKS) | {task.name: task for task in lag_tasks()}
    if name not in known:
        raise UserError(f"no task {name}", expected=" ".join(TASKS))
    return known[name]


def stored(folder: Path) -> list[dict[str, Any]]:
    """The rows of a folder; a last line that was cut off by an interruption does not count."""
    path = folder / TRIALS
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    found = []
    for line in lines:
        try:
            found.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return found


def key(row: dict[str, Any]) -> tuple[Any, ...]:
    """As Plan.key."""
    limits = row["limits"]
    return (row["task"], row["model"], row["seed"], limits["most"], limits["minutes"])


def default_workers() -> int:
    """Half of the cores, at least one."""
    return max(1, (os.cpu_count() or 2) // 2)


def in_words(row: dict[str, Any]) -> str:
    """One line a trial."""
    end = "solved" if row["solved"] else "stopped, test failed" if row["stopped"] else "gave up"
    name = f"{row['task']} {row['model']} seed {row['seed']}"
    return f"{name}: {end} after {row['sequences']:,} sequences, {row['seconds']:.0f} s"
