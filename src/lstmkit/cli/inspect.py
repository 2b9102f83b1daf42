"""`lstmkit inspect MODEL DATA... -o report.html`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lstmkit.cli import checks
from lstmkit.cli.console import Console, shared
from lstmkit.errors import require
from lstmkit.inspection.attribution import METHODS
from lstmkit.inspection.examine import NONE
from lstmkit.inspection.traces import HDF5, SUFFIXES

PAGES = (".html", ".htm")
KINDS = ("clamp", "ablate", "edit")


@click.command()
@click.argument("model")
@click.argument("data", nargs=-1, required=True, metavar="DATA...")
@click.option("-o", "--output", metavar="FILE", help="The report, an .html file.")
@click.option("--samples", type=click.IntRange(min=1), default=4, show_default=True, metavar="N",
              help="How many samples to show, spread over the data.")  # fmt: skip
@click.option("--sample", "only", multiple=True, metavar="NAME", help="Show this one; repeatable.")
@click.option("--future", is_flag=True, help="The answers that lie ahead, by the final weights.")
@click.option("--clamp", multiple=True, metavar="WHERE=VALUE",
              help="Hold a gate: lstm.0.forget_gate[3,5-7]@10-20=1; repeatable.")  # fmt: skip
@click.option("--ablate", multiple=True, metavar="WHERE", help="Take units out: lstm.0[3,5].")
@click.option("--edit", multiple=True, metavar="WHERE@STEP=VALUE",
              help="Write into the cell state: lstm.0.cell[3]@12=0.5.")  # fmt: skip
@click.option("--attribution", "method", type=click.Choice([*METHODS, NONE]), default=METHODS[0],
              show_default=True, help="How the answer is accounted for.")  # fmt: skip
@click.option("--answer", type=click.IntRange(min=1), metavar="K",
              help="Attribute the K-th answer; their mean if left out.")  # fmt: skip
@click.option("--traces", metavar="FILE", help="Write the traces: .arrow .parquet .csv .h5.")
@click.option("--figures", metavar="FOLDER", help="Write the first sample's figures: PNG, SVG.")
@shared
def inspect(
    model: str,
    data: tuple[str, ...],
    output: str | None,
    samples: int,
    only: tuple[str, ...],
    future: bool,
    clamp: tuple[str, ...],
    ablate: tuple[str, ...],
    edit: tuple[str, ...],
    method: str,
    answer: int | None,
    traces: str | None,
    figures: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Look inside MODEL while it reads DATA: gates, memory horizon, health, what moved the answer.

    Prints the memory horizon and the health check; the report shows everything.
    """
    console = Console(quiet)
    checks.readable(model)
    source = checks.inputs(data, folders=True)
    for path, suffixes in ((output, PAGES), (traces, SUFFIXES)):
        if path:
            checks.output(path, [model, *data], suffixes)
    if figures:
        checks.folder(Path(figures))
    if method != NONE:
        require("captum", "inspect")
    if traces and traces.endswith(HDF5):
        require("h5py", "inspect")
    from lstmkit.inspection import intervention
    from lstmkit.tasks.estimator import load

    given = {"clamp": clamp, "ablate": ablate, "edit": edit}
    changes = [intervention.parse(text, kind) for kind in KINDS for text in given[kind]]
    estimator: Any = load(model)
    probe = estimator.probe(source, samples=samples, only=only, future=future)
    from lstmkit.inspection.examine import inspect as look

    found = look(probe, interventions=changes, method=method, answer=answer and answer - 1)
    written = write(found, output, traces, figures)
    tell(found, written, as_json, console)


def write(found: Any, output: str | None, traces: str | None, figures: str | None) -> list[str]:
    """The files that were asked for."""
    made = []
    if output:
        made.append(str(found.write(output)))
    if traces:
        from lstmkit.inspection.traces import write as write_traces

        labels = found.probe.labels
        made.append(str(write_traces(found.recording, traces, found.probe.samples, labels)))
    if figures:
        from lstmkit.inspection.figures import write as write_figures

        made += [str(path) for path in write_figures(found, figures)]
    return made


def tell(found: Any, written: list[str], as_json: bool, console: Console) -> None:
    """Horizon, interventions and health, in words or as JSON."""
    if as_json:
        console.json({**found.to_dict(), "written": written})
    else:
        from lstmkit.inspection import health

        for note in found.probe.notes:
            console.note(note)
        console.data(found.horizon.sentence)
        for line in changes(found):
            console.data(line)
        console.data(health.summary(found.findings))
        for finding in found.findings:
            console.data(f"  {finding}")
    for path in written:
        console.say(f"written: {path}")


def changes(found: Any) -> list[str]:
    """What the interventions did, a line a sample."""
    if found.change is None:
        return []
    lines = [f"with {', '.join(str(one) for one in found.change.interventions)}:"]
    for name, (before, after) in zip(found.probe.samples, found.change.means(), strict=True):
        lines.append(f"  {name}: mean answer {before:.6g} -> {after:.6g} ({after - before:+.4g})")
    if found.change.scores is not None:
        before, after = found.change.scores
        lines.append(f"  {found.horizon.cut.metric}: {before:.4g} -> {after:.4g}")
    return lines
