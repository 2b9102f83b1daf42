"""Fit on a training text, choose the epoch on a validation text, score the test text once."""

from __future__ import annotations

import argparse
import json
import math
import resource
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lstmkit
from lstmkit.bench.machine import machine
from lstmkit.modelfile import atomic_write

RESULTS = Path(__file__).parent.parent.parent / "results"


class Curve:
    """A training callback: seconds and validation perplexity of each epoch."""

    def __init__(self) -> None:
        self.began = time.perf_counter()
        self.points: list[dict[str, float]] = []

    def on_epoch(self, epoch: int, loss: float, score: float, best: float, eta: float) -> None:
        """One more point."""
        seconds = time.perf_counter() - self.began
        self.points.append(
            {"epoch": epoch, "seconds": round(seconds, 1), "validation": round(math.exp(score), 3)}
        )
        print(f"{seconds:7.0f} s  epoch {epoch:3}  validation {math.exp(score):.2f}", flush=True)


def arguments(about: str, sets: Sequence[str]) -> argparse.Namespace:
    """What both commands take."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--set", dest="name", choices=sets, default=sets[0])
    parser.add_argument("--options", default="", help="of the model: minutes=40,size=small")
    parser.add_argument("--label", default="", help="of the run, in the results' name")
    parser.add_argument("--dynamic", action="store_true", help="dynamic evaluation as well")
    return parser.parse_args()


def options(text: str) -> dict[str, Any]:
    """name=value, ... as JSON values where they are such."""
    found = {}
    for pair in filter(None, text.split(",")):
        name, _, value = pair.partition("=")
        try:
            found[name.strip()] = json.loads(value)
        except json.JSONDecodeError:
            found[name.strip()] = value
    return found


def run(
    asked: argparse.Namespace, texts: Sequence[Path], published: dict[str, Any], **fixed: Any
) -> None:
    """Fit, score, keep."""
    train, validation, test = (str(path) for path in texts)
    given = {**fixed, **options(asked.options)}
    curve = Curve()
    model = lstmkit.LanguageModel(validation=validation, test=test, **given)
    model.fit(train, callbacks=[curve])
    seconds = time.perf_counter() - curve.began
    print(model.report_)
    found = {"model": model.report_.to_dict()}
    if asked.dynamic:
        found["dynamic"] = model.evaluate(test, dynamic=True, train=train).to_dict()
        print(json.dumps(found["dynamic"]["metrics"]))
    keep(
        asked,
        {
            "options": given,
            "seconds": round(seconds, 1),
            "curve": curve.points,
            **found,
            "published": published,
        },
    )


def keep(asked: argparse.Namespace, found: dict[str, Any]) -> None:
    """Write benchmarks/results/language_SET.json."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    words = [w if w != str(asked.folder) else "FOLDER" for w in sys.argv[1:]]
    command = f"python benchmarks/accuracy/{Path(sys.argv[0]).name} {shlex.join(words)}"
    where = {name: value for name, value in machine().items() if name != "command"}
    whole = {"command": command, "machine": where, "peak_mb": peak, **found}
    name = f"language_{asked.name.replace('-', '')}" + (f"_{asked.label}" if asked.label else "")
    with atomic_write(RESULTS / f"{name}.json") as file:
        file.write(json.dumps(whole, indent=1).encode() + b"\n")
