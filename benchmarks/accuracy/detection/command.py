"""What the two commands share: options, the loop over detectors, the results file, the picture."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from forecast import parse_options
from forecasting.contest import write

from detection import contest, results, scoring
from detection.contest import Run
from detection.datasets import DATASETS, Problem

RESULTS = Path(__file__).parents[2] / "results"
CACHE = Path(tempfile.gettempdir()) / "lstmkit-detectors"
Arrays = Sequence[Mapping[str, np.ndarray]]  # of each problem, what a process answered
Entry = Callable[[Sequence[Problem], Mapping[str, int], str, Arrays], dict[str, Any]]


def parser(title: str) -> argparse.ArgumentParser:
    """The options of a command."""
    made = argparse.ArgumentParser(description=title)
    made.add_argument("folder", type=Path, nargs="?", help="of the data files")
    made.add_argument("--peers", metavar="PYTHON", help="interpreter that has TSB-AD")
    made.add_argument("--cache", type=Path, default=CACHE, metavar="FOLDER", help="of scores")
    made.add_argument("--only", default="", metavar="NAMES", help="score just these anew")
    made.add_argument("--limit-minutes", type=float, default=60.0, metavar="N", help="for a file")
    made.add_argument("--options", default="", metavar="K=V,K=V", help="of lstmkit.AnomalyDetector")
    made.add_argument("--name", default=contest.OURS, metavar="NAME", help="of that entry")
    made.add_argument("--files", type=int, metavar="N", help="a trial on so many, not a result")
    made.add_argument("--plot", type=Path, metavar="RESULTS", help="draw a results file")
    made.add_argument("-o", "--output", type=Path)
    return made


def command(script: str, given: argparse.Namespace, arguments: Sequence[str]) -> str:
    """What was run, with FOLDER, PYTHON, CACHE and FILE for this machine's paths."""
    places = {str(given.folder): "FOLDER", str(given.peers): "PYTHON"}
    places |= {str(given.cache): "CACHE", str(given.output): "FILE"}
    words = [places.get(argument, argument) for argument in arguments]
    return shlex.join(["python", f"benchmarks/accuracy/{script}", *words])


def compete(
    dataset: str,
    given: argparse.Namespace,
    run_as: str,
    description: Mapping[str, Any],
    entry: Entry,
) -> dict[str, Any]:
    """Run who has to run, write after each; the results.

    `entry` makes what is recorded of one table entry from its scores on every problem.
    """
    contest.one_thread()
    problems = list(DATASETS[dataset](given.folder))[: given.files]
    path = given.output or (None if given.files else RESULTS / f"anomaly_{dataset}.json")
    run = Run(given.peers, given.cache, given.limit_minutes, options_of(given), given.name)
    asked = {"dataset": dataset, "series": len(problems), **description}
    found = results.kept(path, asked)
    found["windows"] = windows(problems, found["windows"], run)
    only = [name.strip() for name in given.only.split(",") if name.strip()]
    for name in run.detectors(dataset, only):
        print(f"{name} ...", file=sys.stderr, flush=True)
        made = entries(problems, found["windows"], name, run, entry)
        results.merge(found, made, run_as)
        if path:
            write(path, found)
    return found


def options_of(given: argparse.Namespace) -> dict[str, Any]:
    """Options of our detector."""
    return parse_options(given.options)


def windows(problems: Sequence[Problem], known: Mapping[str, int], run: Run) -> dict[str, int]:
    """The window of VUS of each series by TSB-AD's rule: known already, or asked of TSB-AD.

    Raises:
        SystemExit: there is no TSB-AD to ask.
    """
    found = {}
    for problem in problems:
        name = problem.series.name
        if name not in known and not run.peers:
            raise SystemExit("error: the windows of VUS are TSB-AD's: give --peers PYTHON once")
        value = known.get(name) or contest.scored(problem.series, "window", run)[0]["scores"][0]
        found[name] = int(value)
    return found


def entries(
    problems: Sequence[Problem], sizes: Mapping[str, int], name: str, run: Run, entry: Entry
) -> dict[str, Any]:
    """What is recorded of a process: one entry, several of the baselines, or why there is none."""
    arrays: list[dict[str, np.ndarray]] = []
    facts = []
    for problem in problems:
        answered, took = contest.scored(problem.series, name, run)
        if not answered:
            return {name: {**took, "series": problem.series.name}}
        arrays.append(answered)
        facts.append(took)
        print(f"  {problem.series.name}", file=sys.stderr, flush=True)
    each = [scoring.entries(name, a) for a in arrays]
    cost = results.costs(facts)
    made: dict[str, Any] = {}
    for title in each[0]:
        given = [{**extra, "scores": e[title]} for e, extra in zip(each, arrays, strict=True)]
        made[title] = {**entry(problems, sizes, title, given), **cost}
    checked = check(problems, sizes, made, each, run) if run.peers else {}
    return {title: {**e, **checked.get(title, {})} for title, e in made.items()}


def check(
    problems: Sequence[Problem],
    sizes: Mapping[str, int],
    made: Mapping[str, Any],
    each: Sequence[Mapping[str, np.ndarray]],
    run: Run,
) -> dict[str, dict[str, float]]:
    """How far lstmkit's figures are from TSB-AD's own on the same scores, at most.

    Raises:
        SystemExit: further than rounding explains.
    """
    labelled = [k for k, p in enumerate(problems) if p.labels[p.scored].any()]
    some = [problems[k] for k in labelled]
    found = {}
    for title in made:
        scores = {problems[k].series.name: each[k][title] for k in labelled}
        ours = [made[title]["files"][p.series.name] for p in some]
        pairs = zip(ours, scoring.judge(some, scores, sizes, run), strict=True)
        worst = float(np.max([scoring.disagreement(a, b) for a, b in pairs]))
        if not worst <= scoring.TOLERANCE:
            raise SystemExit(f"error: measures of {title} differ from TSB-AD's by {worst:.2g}")
        found[title] = {"differs_from_tsb_ad": worst}
    return found


def draw(given: argparse.Namespace) -> None:
    """The picture of a results file.

    Raises:
        SystemExit: no file to draw into was named.
    """
    from detection import plot
    from lstmkit.style import save

    if given.output is None:
        raise SystemExit("error: --plot wants -o FILE.png")
    print(save(plot.plot(json.loads(given.plot.read_text())), given.output))
