"""From flows to a fitted detector: what is read, training, what normal flows score, the level."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lstmkit import runtime
from lstmkit.calibration.tails import Tail
from lstmkit.errors import UserError
from lstmkit.readers.flows import BENIGN, Flows
from lstmkit.tasks.intrusion import answers, learning, levels, program, shapes
from lstmkit.tasks.intrusion.data import MOST_HOSTS, NOBODY, Corpus, classes_of
from lstmkit.tasks.intrusion.features import RECORDS, Geometry, flow_geometry, record_geometry
from lstmkit.tasks.intrusion.guard import Fingerprint
from lstmkit.tasks.intrusion.places import Home
from lstmkit.tasks.intrusion.watch import HANDICAP, LEAST_SLOPES, Scale, Watch

if TYPE_CHECKING:
    from lstmkit.tasks.intrusion.estimator import IntrusionDetector
    from lstmkit.tasks.intrusion.network import IntrusionNetwork

BLOCKS, EVERY = 50, 5  # stretches of the flows; each fifth says what normal flows score
FEWEST = 100  # normal flows to learn from
UNKNOWN = "unknown"
MOST_PEAKS = 2000
REMEMBERED = 5000  # hosts, pairs and destinations that a model knows at the beginning of a stream


def fit(
    asked: IntrusionDetector,
    data: Any,
    run: dict[str, Any],
    warm_start: str | os.PathLike[str] | None,
) -> None:
    """Read, train, and say what is known without labels."""
    from lstmkit.tasks.intrusion.evaluating import unlabelled

    earlier = _earlier(warm_start) if warm_start is not None else None
    found, asked.notes_ = answers.all_of(data, asked.format)
    asked.notes_ += _notes(asked, found)
    learn(asked, found, run, earlier)
    asked.fingerprint_ = Fingerprint.of(found)
    asked.report_ = unlabelled(asked)


def _earlier(path: str | os.PathLike[str]) -> IntrusionDetector:
    from lstmkit.tasks.estimator import load

    found: Any = load(path)
    if found.TASK != "intrusion":
        raise UserError(f"{path} is a model of {found.TASK}", expected="a model of intrusion")
    detector: IntrusionDetector = found
    return detector


def _notes(asked: IntrusionDetector, found: Flows) -> list[str]:
    """What a user should know of the flows before the training."""
    notes = []
    attack = int(((found["label"] != "") & (found["label"] != BENIGN)).sum())
    if attack and not asked.supervised:
        notes.append(
            f"{attack:,} flows labelled as attacks are left out (--supervised learns them)"
        )
    if found.source in RECORDS:
        return [*notes, "single records, without hosts and times: there is no sequence to learn"]
    home = Home(asked.networks())
    inside = sum(home.place(a) == 1 for a in {*found["src"][:50_000], *found["dst"][:50_000]})
    if not inside:
        notes.append(f"no address is in {', '.join(home.named or ('a private network',))}: "
                     "--home-net names yours")  # fmt: skip
    return notes


def learn(asked: IntrusionDetector, found: Flows, run: dict[str, Any], earlier: Any) -> None:
    """Train, and keep what normal flows score that were not learnt from."""
    asked.shape_ = shape = earlier.shape_ if earlier else _geometry(asked, found)
    shape.check(found)
    names, made = _classes(asked, found)
    if earlier and names != earlier.classes_:
        raise UserError(
            "the earlier model tells other classes apart",
            got=", ".join(names),
            expected=", ".join(earlier.classes_),
        )
    asked.classes_ = names
    held = _held(shape, found)
    classes = classes_of(found["label"], names) if asked.supervised else _without_labels(found)
    normal, learnt = classes == 0, np.where(held, NOBODY, classes)
    if (learnt == 0).sum() < FEWEST or not (normal & held).any():
        raise UserError(
            "too few normal flows to learn from",
            got=f"{int((learnt == 0).sum())}",
            expected=f"at least {FEWEST}",
        )
    corpus = _corpus(shape, found, learnt, made)
    course = _course(asked, shape, run)
    start = dict(earlier.program_.weights) if earlier else None
    network, asked.history_ = course.train(corpus, start)
    weights = {k: v.detach().cpu().numpy().copy() for k, v in network.state_dict().items()}
    options = {"pair": network.pair.options(), "host": network.host.options()}
    asked.detector_ = program.detector(shape, weights, options)
    asked.facts_ = _facts(asked, course, corpus)
    calibrate(asked, found, held, normal)


def _geometry(asked: IntrusionDetector, found: Flows) -> Geometry:
    if found.source in RECORDS:
        if not asked.supervised:
            raise UserError(
                f"{found.source} holds single records: there is no host to learn the habits of",
                hint="--supervised",
            )
        return record_geometry(found)
    return flow_geometry(found.source, asked.networks())


def _classes(asked: IntrusionDetector, found: Flows) -> tuple[tuple[str, ...], np.ndarray]:
    """Names of the classes, the first benign; and which one each made-up attack stands for."""
    count = len(shapes.CLASSES)
    if not asked.supervised:
        return (BENIGN, *shapes.CLASSES), np.arange(1, count + 1)
    labels = sorted({str(x) for x in found["label"]} - {"", BENIGN})
    if not labels:
        raise UserError(
            "there are no labelled attacks to learn from",
            got=f"labels: {', '.join(sorted({str(x) for x in found['label']})) or 'none'}",
            hint="leave out --supervised: then only what is normal is learnt",
        )
    names = (BENIGN, *labels, UNKNOWN)
    return names, np.full(count, len(names) - 1)


def _without_labels(found: Flows) -> np.ndarray:
    """Classes without labels: every flow is taken for normal but what is labelled as an attack."""
    label = found["label"]
    return np.where((label == "") | (label == BENIGN), 0, -1).astype(np.int64)


def _held(shape: Geometry, found: Flows) -> np.ndarray:
    """Which flows (n,) are not learnt from: stretches spread over the whole time, so that day and
    night are among them; of records each fifth."""
    rows = np.arange(len(found))
    if not shape.hosts:
        return np.asarray(rows % EVERY == EVERY - 1)
    return np.asarray(_block(rows) % EVERY == EVERY - 1)


def _block(rows: np.ndarray) -> np.ndarray:
    return rows * BLOCKS // max(len(rows), 1)


def _corpus(shape: Geometry, found: Flows, learnt: np.ndarray, made: np.ndarray) -> Corpus:
    """Flows that are held out are read, as those after them follow on them, and not learnt from."""
    if shape.hosts:
        return Corpus.of(shape, found, learnt, made)
    kept = learnt != NOBODY
    return Corpus.of(shape, found.take(kept), learnt[kept], made)


def _course(asked: IntrusionDetector, shape: Geometry, run: dict[str, Any]) -> learning.Course:
    preset = learning.PRESETS[asked.size]
    preset = preset._replace(
        host=asked.width or preset.host,
        learning_rate=asked.learning_rate or preset.learning_rate,
        batch_size=asked.batch_size or preset.batch_size,
    )
    names = ("seed", "epochs", "minutes", "device", "threads")
    given = {name: getattr(asked, name) for name in names}
    log_dir = Path(asked.log_dir) if asked.log_dir else None
    made = learning.MADE_BESIDE_LABELS if asked.supervised else learning.MADE
    return learning.Course(
        shape, preset, len(asked.classes_), made, log_dir=log_dir, **given, **run
    )


def _facts(asked: IntrusionDetector, course: learning.Course, corpus: Corpus) -> dict[str, Any]:
    return {
        "kind": "recurrent",
        "source": asked.shape_.source,
        "supervised": asked.supervised,
        "size": asked.size,
        "hidden_size": course.preset.host,
        "classes": len(asked.classes_),
        "flows": len(corpus.found),
        "epochs": asked.history_.epochs,
        "seconds": round(asked.history_.seconds, 1),
    }


def calibrate(asked: IntrusionDetector, found: Flows, held: np.ndarray, normal: np.ndarray) -> None:
    """Tails of the measures on normal flows that were not learnt from, the peaks from which levels
    are read, and what is remembered at the end."""
    watch = Watch(runtime.load(asked.detector_), asked.shape_, hosts=MOST_HOSTS // 10)
    judged = watch.read(found)
    asked.start_ = watch.save(REMEMBERED)
    mine = held & normal
    measures = judged.measures[mine]
    tails = tuple(
        Tail.fit(column, least) for column, least in zip(measures.T, LEAST_SLOPES, strict=False)
    )
    asked.scale_ = Scale(tails, HANDICAP[: len(tails)])
    score = asked.scale_.joined(asked.scale_.scores(measures))
    kept, days, tops = found.take(mine), float("nan"), score
    if asked.shape_.hosts:
        days = sum(span_days(found.take(held & (_block(np.arange(len(found))) == k)))
                   for k in range(EVERY - 1, BLOCKS, EVERY))  # fmt: skip
        tops = levels.peaks(score, kept["src"], kept["time"], asked.gap)
    asked.held_ = {
        "peaks": np.sort(tops)[::-1][:MOST_PEAKS],
        "days": np.array(days),
        "flows": np.array(len(kept)),
    }


def span_days(found: Flows) -> float:
    """Days from the first flow to the last, at least a second."""
    time = found["time"][np.isfinite(found["time"])]
    return max(float(np.ptp(time)) if len(time) else 0.0, 1.0) / levels.DAY


def rebuilt(asked: IntrusionDetector) -> IntrusionNetwork:
    """The torch module with the detector's weights, in evaluation mode."""
    preset = learning.PRESETS[asked.facts_["size"]]._replace(host=asked.facts_["hidden_size"])
    weights = {k: np.asarray(v) for k, v in asked.detector_.weights.items()}
    return learning.Course(asked.shape_, preset, len(asked.classes_)).network(weights).eval()
