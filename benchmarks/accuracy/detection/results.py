"""Results files of detectors: entries beside each other, and the table of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lstmkit.bench.machine import machine

SUMMED = ("import_seconds", "fit_seconds", "predict_seconds", "cpu_seconds")


def kept(path: Path | None, asked: Mapping[str, Any]) -> dict[str, Any]:
    """The results that are there already; a new file of the description `asked` if there are none.

    Raises:
        SystemExit: they are of another protocol, so entries could not be compared.
    """
    if path is None or not path.exists():
        return {**asked, "windows": {}, "models": {}}
    found: dict[str, Any] = json.loads(path.read_text())
    differing = [k for k, v in asked.items() if k != "published" and found.get(k) != v]
    if differing:
        raise SystemExit(f"error: {path} has another {' and '.join(differing)}; give another -o")
    return {**found, "published": asked["published"]}


def costs(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of the processes of a detector: seconds in all, largest memory, settings, versions, date."""
    seconds = {name: round(sum(f[name] for f in facts), 2) for name in SUMMED}
    settings = [f["settings"] for f in facts]
    alike = {k: v for k, v in settings[0].items() if all(s.get(k) == v for s in settings)}
    return {
        **seconds,
        "peak_gigabytes": max(f["peak_gigabytes"] for f in facts),
        "settings": alike,
        "versions": facts[0]["versions"],
        "date": facts[-1].get("date"),
    }


def merge(results: dict[str, Any], entries: Mapping[str, Any], command: str) -> None:
    """Put entries in beside the others."""
    for name, entry in entries.items():
        results["models"][name] = {**entry, "command": command}
    results["machine"] = {**machine(), "command": command}


def table(results: Mapping[str, Any], metrics: Sequence[str]) -> str:
    """Detectors by the first metric, those without scores last, then what others have published."""
    models, published = results["models"], results["published"]
    wide = max(map(len, [*models, *published, "published"]))
    head = " ".join([" " * wide, *[f"{m:>12}" for m in metrics], "  minutes", "       GB"])
    ranked = sorted(models, key=lambda name: -_first(models[name], metrics))
    lines = [head, *(_line(name, models[name], metrics, wide) for name in ranked)]
    if published:
        lines.append("published")
    lines += [_line(name, {"scores": f}, metrics, wide) for name, f in published.items()]
    return "\n".join(lines)


def _first(entry: Mapping[str, Any], metrics: Sequence[str]) -> float:
    value = entry.get("scores", {}).get(metrics[0])
    return -1e9 if value is None else float(value)


def _line(name: str, entry: Mapping[str, Any], metrics: Sequence[str], wide: int) -> str:
    if "scores" not in entry:
        return f"{name:<{wide}}  {entry.get('failed') or 'stopped ' + entry['stopped']}"
    cells = [_cell(entry["scores"].get(m), 12) for m in metrics]
    cost = [_cell(minutes(entry), 9), _cell(entry.get("peak_gigabytes"), 9)]
    return " ".join([f"{name:<{wide}}", *cells, *cost]).rstrip()


def _cell(value: float | None, wide: int) -> str:
    return " " * wide if value is None else f"{value:{wide}.3f}"


def minutes(entry: Mapping[str, Any]) -> float | None:
    """Fitting and scoring of all files, without importing; None where it was not measured."""
    if "fit_seconds" not in entry:
        return None
    return float(entry["fit_seconds"] + entry["predict_seconds"]) / 60
