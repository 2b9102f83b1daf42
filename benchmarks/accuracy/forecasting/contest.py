"""Run contestants one after the other, score them by one code, keep the results in one file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from forecasting import scoring
from forecasting.datasets import Problem
from forecasting.scoring import Answer
from lstmkit.bench.machine import machine
from lstmkit.modelfile import atomic_write

HERE = Path(__file__).parents[1]
PEERS = (
    "neuralforecast LSTM",
    "neuralforecast NHITS",
    "AutoETS",
    "AutoTheta",
    "LightGBM on lags",
)
OURS = "lstmkit"
TOLERANCE = 5e-4  # published figures have three decimals


@dataclass(frozen=True)
class Run:
    """How contestants run: the peers' interpreter, minutes for each, options and name of ours."""

    peers: str | None = None
    minutes: float = 15.0
    options: dict[str, Any] = field(default_factory=dict)
    name: str = OURS

    def command(self, name: str, *files: Path) -> list[str]:
        """The process of a contestant."""
        python = sys.executable if is_ours(name) else str(self.peers)
        options = json.dumps(self.options if is_ours(name) else {})
        return [python, "-m", "forecasting.worker", name, *map(str, files), options]


def contestants(problem: Problem, run: Run) -> list[str]:
    """Names in the order of running: the naive ones, ours, and peers where there are any."""
    return [*problem.naives, run.name, *(PEERS if run.peers else ())]


def is_ours(name: str) -> bool:
    """Whether an entry is lstmkit's, under any name of its options."""
    return name.startswith(OURS)


def verify(problem: Problem) -> None:
    """Abort where the seasonal naive does not score as published: a wrong split.

    Raises:
        SystemExit: what it scored.
    """
    found = entry_of_naive(problem, "seasonal_naive")["scores"] if problem.check else {}
    for metric, published in problem.check.items():
        if abs(found[metric] - published) > TOLERANCE:
            raise SystemExit(f"seasonal naive {metric} is {found[metric]}, published {published}")


def compete(problem: Problem, name: str, run: Run) -> dict[str, Any]:
    """The entry of one contestant: its scores and costs, or why there are none."""
    if name in problem.naives:
        return entry_of_naive(problem, name)
    with tempfile.TemporaryDirectory() as folder:
        given, answered = Path(folder) / "task.npz", Path(folder) / "answer.npz"
        problem.task.save(given)
        found = alone(run.command(name, given, answered), run.minutes)
        if "failed" in found or "stopped" in found:
            return found
        try:
            return scored(problem, Answer.load(answered)) | found
        except ValueError as reason:
            return {"failed": str(reason), **found}


def entry_of_naive(problem: Problem, name: str) -> dict[str, Any]:
    """The seasonal naive, made here: it costs nothing worth measuring."""
    season = problem.naives[name]
    answer = scoring.naive(problem.task, season)
    return scored(problem, answer) | {"settings": {"season": season}}


def scored(problem: Problem, answer: Answer) -> dict[str, Any]:
    """Scores, and the spread of MASE."""
    scores = scoring.score(problem, answer)
    return {"scores": scores, "mase_interval": scoring.spread(problem, answer)}


def alone(command: Sequence[str], minutes: float) -> dict[str, Any]:
    """What the process printed last as JSON; or `stopped` at its limit, or `failed`.

    It leads a group of its own, so that nothing it has started outlives it.
    """
    process = subprocess.Popen(
        command, cwd=HERE, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        out, talk = process.communicate(timeout=60 * minutes)
    except subprocess.TimeoutExpired:
        return {"stopped": f"after {minutes:g} min"}
    finally:
        _end(process)
    if process.returncode:
        lines = talk.strip().splitlines() or ["no message"]
        return {"failed": f"exit code {process.returncode}: {lines[-1][:300]}"}
    found: dict[str, Any] = json.loads(out.strip().splitlines()[-1])
    return found


def _end(process: subprocess.Popen[str]) -> None:
    """End a process and its children, where it still runs."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


# --- results


def describe(problem: Problem) -> dict[str, Any]:
    """What must be the same of all entries of one file."""
    series, origins = problem.task.origins.shape
    return {
        "dataset": problem.task.dataset,
        "series": series,
        "origins": origins,
        "horizon": problem.task.horizon,
        "protocol": problem.protocol,
    }


def kept(path: Path | None, problem: Problem) -> dict[str, Any]:
    """The results that are there already; a new file of the same description if there are none.

    Raises:
        SystemExit: they are of another protocol, so entries could not be compared.
    """
    asked = describe(problem)
    if path is None or not path.exists():
        return {**asked, "published": problem.published, "models": {}}
    found: dict[str, Any] = json.loads(path.read_text())
    differing = [k for k, v in asked.items() if found.get(k) != v]
    if differing:
        raise SystemExit(f"error: {path} has another {' and '.join(differing)}; give another -o")
    return {**found, "published": problem.published}


def outstanding(names: Sequence[str], results: dict[str, Any], only: Sequence[str]) -> list[str]:
    """Who has to run: those of `only`, or without it all that have no scores yet.

    Raises:
        SystemExit: a name of `only` is not known.
    """
    strange = [name for name in only if name not in names]
    if strange:
        raise SystemExit(f"error: no contestant {strange[0]!r}; there are: {', '.join(names)}")
    if only:
        return [name for name in names if name in only]
    return [name for name in names if "scores" not in results["models"].get(name, {})]


def merge(results: dict[str, Any], name: str, entry: dict[str, Any], command: str) -> None:
    """Put an entry in, with its date and command, beside the others."""
    made = {"date": datetime.now(UTC).isoformat(timespec="seconds"), "command": command}
    results["models"][name] = {**entry, **made}
    results["machine"] = {**machine(), "command": command}


def write(path: Path, results: dict[str, Any]) -> None:
    """Whole or not at all."""
    with atomic_write(path, mode="w") as file:
        json.dump(results, file, indent=1, allow_nan=False)
        file.write("\n")


# --- the table


def table(results: dict[str, Any]) -> str:
    """Contestants by MASE, those without scores last, then what others have published."""
    models = results["models"]
    ranked = sorted(models, key=lambda name: models[name].get("scores", {}).get("mase", 1e9))
    metrics = next((list(m["scores"]) for m in models.values() if "scores" in m), [])
    wide = max(map(len, [*models, *results["published"], "published"]))
    head = [f"{m.replace('coverage_', 'cover '):>9}" for m in metrics]
    lines = [" ".join([" " * wide, *head, "  minutes", "       GB"])]
    lines += [_line(name, models[name], metrics, wide) for name in ranked]
    if results["published"]:
        lines.append("published")
    for name, figures in results["published"].items():
        lines.append(_line(name, {"scores": figures}, metrics, wide))
    return "\n".join(lines)


def _line(name: str, entry: dict[str, Any], metrics: Sequence[str], wide: int) -> str:
    if "scores" not in entry:
        return f"{name:<{wide}}  stopped {entry['stopped']}" if "stopped" in entry else (
            f"{name:<{wide}}  failed: {entry['failed']}"
        )  # fmt: skip
    cells = [_cell(entry["scores"].get(metric)) for metric in metrics]
    cost = [minutes(entry), entry.get("peak_gigabytes")]
    return " ".join([f"{name:<{wide}}", *cells, *map(_cell, cost)]).rstrip()


def _cell(value: float | None) -> str:
    return " " * 9 if value is None else f"{value:9.3f}" if abs(value) < 1000 else f"{value:9.0f}"


def minutes(entry: dict[str, Any]) -> float | None:
    """Fitting and forecasting, without importing; None where it was not measured."""
    if "fit_seconds" not in entry:
        return None
    return float(entry["fit_seconds"] + entry["predict_seconds"]) / 60
