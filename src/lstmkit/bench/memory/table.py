"""The rows of many trials as one table beside the published figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lstmkit.bench.memory.tasks import TASKS

COLUMNS = ("task", "model", "solved", "sequences", "range", "paper", "test", "seconds", "weights")
Row = Mapping[str, Any]


def summary(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """One line a task and model, in the order of TASKS: medians over the seeds.

    `sequences` are those that the solved seeds needed, or None where none was; `gave_up` the most
    that an unsolved one saw; `test_wrong` and `worst_error` are the solved seeds' worst,
    and the best error where none was solved.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["task"], row["model"]), []).append(row)
    order = {name: k for k, name in enumerate(TASKS)}
    names = sorted(groups, key=lambda name: order.get(name[0], len(order)))
    return [line(*name, groups[name]) for name in names]


def line(task: str, model: str, rows: Sequence[Row]) -> dict[str, Any]:
    """The summary of one task and model."""
    needed = sorted(row["sequences"] for row in rows if row["solved"])
    unsolved = [row["sequences"] for row in rows if not row["solved"]]
    errors = [row["test_error"] for row in rows if row["solved"]]
    return {
        "task": task,
        "model": model,
        "solved": len(needed),
        "seeds": len(rows),
        "sequences": middle(needed),
        "fewest": needed[0] if needed else None,
        "most": needed[-1] if needed else None,
        "gave_up": max(unsolved, default=None),
        "paper": rows[0]["paper_sequences"],
        "test_wrong": max((r["test_wrong"] for r in rows if r["solved"]), default=None),
        "test_of": rows[0]["test_of"],
        "worst_error": max(errors, default=min(row["test_error"] for row in rows)),
        "seconds": middle(sorted(row["seconds"] for row in rows)),
        "weights": rows[0]["weights"],
    }


def middle(values: Sequence[Any]) -> Any:
    """The median of sorted values, the lower of two; None of none."""
    return values[(len(values) - 1) // 2] if values else None


def cells(found: Row) -> list[str]:
    """One line of the summary as it is printed, in the order of COLUMNS."""
    task = TASKS.get(found["task"])
    if found["solved"]:
        needed = f"{found['sequences']:,}"
        spread = f"{found['fewest']:,} to {found['most']:,}"
        test = f"{found['test_wrong']} of {found['test_of']} wrong"
    else:
        needed, spread, test = "-", f"gave up at {found['gave_up']:,}", "-"
    if task is not None and by_mean(found["task"]):
        test = f"error {found['worst_error']:.4f}"
    return [
        found["task"],
        found["model"],
        f"{found['solved']}/{found['seeds']}",
        needed,
        spread,
        f"{found['paper']:,}" if found["paper"] else (task.published if task else "-"),
        test,
        f"{found['seconds']:.0f}",
        str(found["weights"]),
    ]


def by_mean(name: str) -> bool:
    """Whether the task judges the mean error alone, and no sequence is wrong by itself."""
    return TASKS[name].criterion.test.tolerance == float("inf")


def text(rows: Sequence[Row]) -> str:
    """The table for a terminal."""
    lines = [list(COLUMNS), *map(cells, summary(rows))]
    widths = [max(len(line[k]) for line in lines) for k in range(len(COLUMNS))]
    left = (0, 1, 4, 5, 6)
    return "\n".join(
        "  ".join(
            cell.ljust(width) if k in left else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def markdown(rows: Sequence[Row]) -> str:
    """The table for a page."""
    lines = [list(COLUMNS), ["---"] * len(COLUMNS), *map(cells, summary(rows))]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
