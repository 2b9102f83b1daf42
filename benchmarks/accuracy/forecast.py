"""Forecasters side by side: the same rows, the same origins, one scoring, each in its own process.

    python benchmarks/accuracy/forecast.py FOLDER --dataset m4_hourly --peers PYTHON
    python benchmarks/accuracy/forecast.py FOLDER --dataset pjm --only lstmkit --options "members=3"
    python benchmarks/accuracy/forecast.py --plot benchmarks/results/forecast_m4_hourly.json -o FILE

FOLDER holds the data files: M4-Hourly-train.csv.gz and M4-Hourly-test.csv
(github.com/Mcompetitions/M4-methods), exchange_rate.txt.gz
(github.com/laiguokun/multivariate-time-series-data), pjm_est_hourly.csv.gz (github.com/salesforce/
Merlion, data/multivariate/energy_power/est_hourly.csv.gz). PYTHON is an interpreter with the peers:

    pip install torch==2.13.0 && pip install neuralforecast statsforecast lightgbm mlforecast "pandas<3"

One contestant runs at a time; seconds to import, fit and forecast and the peak resident memory are
those of its process. Results are written after each to benchmarks/results/forecast_DATASET.json, so
that a run which was cut short goes on where it ended; `--only` replaces entries. A contestant that
takes longer than `--limit-minutes` is stopped and recorded as such. On M4 Hourly the seasonal naive
must score as published (Makridakis et al. 2020) or nothing runs.
"""  # noqa: E501

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from forecasting import contest
from forecasting.datasets import DATASETS, Problem

RESULTS = Path(__file__).parents[1] / "results"


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("folder", type=Path, nargs="?", help="of the data files")
    made.add_argument("--dataset", choices=DATASETS)
    made.add_argument("--peers", metavar="PYTHON", help="interpreter that has the peers")
    made.add_argument("--only", default="", metavar="NAMES", help="replace just these entries")
    made.add_argument("--limit-minutes", type=float, default=15.0, metavar="N")
    made.add_argument("--options", default="", metavar="K=V,K=V", help="of lstmkit.Forecaster")
    made.add_argument("--name", default=contest.OURS, metavar="NAME", help="of that entry")
    made.add_argument("--series", type=int, metavar="N", help="a trial on so many, not a result")
    made.add_argument("--plot", type=Path, metavar="RESULTS", help="draw a results file")
    made.add_argument("-o", "--output", type=Path)
    return made


def parse_options(text: str) -> dict[str, Any]:
    """K=V pairs; values are read as JSON where they can be, else as text."""
    found = {}
    for pair in filter(None, map(str.strip, text.split(","))):
        name, equals, value = pair.partition("=")
        if not equals:
            raise SystemExit(f"error: --options wants K=V,K=V, got {pair!r}")
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:
            found[name] = value
    return found


def chosen(text: str, names: list[str]) -> list[str]:
    """What --only names: one contestant, which may hold a comma, or several between commas."""
    several = [name.strip() for name in text.split(",") if name.strip()]
    return [text] if text in names else several


def command(given: argparse.Namespace, arguments: list[str]) -> str:
    """What was run, with FOLDER and PYTHON for this machine's paths."""
    places = {str(given.folder): "FOLDER", str(given.peers): "PYTHON", str(given.output): "FILE"}
    return shlex.join(["python", "benchmarks/accuracy/forecast.py"]) + " " + shlex.join(
        [places.get(argument, argument) for argument in arguments]
    )  # fmt: skip


def load(given: argparse.Namespace) -> Problem:
    """The data set, cut to a trial where asked, and its split verified."""
    problem = DATASETS[given.dataset](given.folder)
    if given.series:
        problem = problem.first(given.series)
    contest.verify(problem)
    return problem


def destination(given: argparse.Namespace) -> Path | None:
    """The results file; none for a trial without `-o`."""
    if given.output:
        return Path(given.output)
    return None if given.series else RESULTS / f"forecast_{given.dataset}.json"


def compete(given: argparse.Namespace, arguments: list[str]) -> None:
    """Run who has to run, write after each, print the table."""
    problem, path = load(given), destination(given)
    run = contest.Run(given.peers, given.limit_minutes, parse_options(given.options), given.name)
    results = contest.kept(path, problem)
    names = contest.contestants(problem, run)
    for name in contest.outstanding(names, results, chosen(given.only, names)):
        print(f"{name} ...", file=sys.stderr, flush=True)
        contest.merge(results, name, contest.compete(problem, name, run), command(given, arguments))
        if path:
            contest.write(path, results)
    print(contest.table(results))
    if given.series:
        print(f"a trial on the first {given.series} series, not a result")


def draw(given: argparse.Namespace) -> None:
    """The picture of a results file."""
    from forecasting import plot

    from lstmkit.style import save

    if given.output is None:
        raise SystemExit("error: --plot wants -o FILE.png")
    print(save(plot.plot(json.loads(given.plot.read_text())), given.output))


def main(arguments: list[str]) -> None:
    """Parse and run."""
    made = parser()
    given = made.parse_args(arguments)
    if given.plot:
        draw(given)
    elif given.folder and given.dataset:
        compete(given, arguments)
    else:
        made.error("FOLDER and --dataset are wanted, or --plot RESULTS -o FILE")


if __name__ == "__main__":
    main(sys.argv[1:])
