"""Recordings as files for other tools: Arrow, Parquet and CSV as one long table, HDF5 as arrays."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lstmkit.errors import UserError, require
from lstmkit.inspection.record import FIELDS

if TYPE_CHECKING:
    from lstmkit.inspection.record import LayerRecord, Recording

TABLES = (".arrow", ".parquet", ".csv", ".csv.gz")
HDF5 = (".h5", ".hdf5")
SUFFIXES = (*TABLES, *HDF5)


def write(
    recording: Recording,
    path: str | Path,
    samples: Sequence[str] = (),
    labels: np.ndarray | None = None,
) -> Path:
    """Write every valid step of every unit; the suffix says the format; whole or not at all.

    Tables have a row a (sample, layer, step, unit) and a column a quantity. HDF5 has a group a
    layer with a dataset (all steps, units) a quantity, samples one after the other as `sample` and
    `step` say: the arrangement that LSTMVis reads (`path: lstm.0/cell` in its configuration).

    Args:
        samples: (N,) names, numbers if left out.
        labels: (N, T) of the steps, as further information.

    Raises:
        UserError: an unknown suffix, or a file that cannot be written.
        MissingExtra: polars for tables, h5py for HDF5.
    """
    path = Path(path)
    names = np.array([str(s) for s in samples or range(len(recording.lengths))])
    if path.name.lower().endswith(TABLES):
        from lstmkit.readers.tables import table_of, write_table

        write_table(table_of(columns(recording, names, labels)), path)
    elif path.suffix.lower() in HDF5:
        _write_hdf5(recording, path, names, labels)
    else:
        raise UserError(
            f"cannot tell the kind of file from the name {path}",
            expected=f"one of {' '.join(SUFFIXES)}",
        )
    return path


def columns(
    recording: Recording, names: np.ndarray, labels: np.ndarray | None
) -> dict[str, np.ndarray]:
    """The long table: sample, layer, step, label, unit and the quantities, in time order."""
    parts = [_layer_columns(recording, layer, names, labels) for layer in recording.layers]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _layer_columns(
    recording: Recording, layer: LayerRecord, names: np.ndarray, labels: np.ndarray | None
) -> dict[str, np.ndarray]:
    sample, step = _places(recording, layer)
    H = layer.cell.shape[-1]
    found: dict[str, np.ndarray] = {
        "sample": np.repeat(names[sample], H),
        "layer": np.full(len(sample) * H, layer.name),
        "step": np.repeat(step.astype(np.int32), H),
    }
    if labels is not None:
        found["label"] = np.repeat(np.asarray(labels).astype(str)[sample, step], H)
    found["unit"] = np.tile(np.arange(H, dtype=np.int32), len(sample))
    for name in FIELDS:
        values = getattr(layer, name)[step, sample]
        wide = np.full((len(sample), H), np.nan, np.float32)  # a projection has fewer units
        wide[:, : values.shape[1]] = values
        found[name] = wide.reshape(-1)
    return found


def _places(recording: Recording, layer: LayerRecord) -> tuple[np.ndarray, np.ndarray]:
    """(sample, step) of each valid step, sample by sample."""
    sample, step = np.nonzero(recording.valid(layer).T)
    return sample, step


def _write_hdf5(
    recording: Recording, path: Path, names: np.ndarray, labels: np.ndarray | None
) -> None:
    from lstmkit.modelfile import atomic_write

    h5py = require("h5py", "inspect")
    buffer, text = io.BytesIO(), h5py.string_dtype()
    with h5py.File(buffer, "w") as file:
        file.attrs["lengths"] = recording.lengths
        file.create_dataset("samples", data=[str(n) for n in names], dtype=text)
        for layer in recording.layers:
            sample, step = _places(recording, layer)
            group = file.create_group(layer.name)
            group.create_dataset("sample", data=sample)
            group.create_dataset("step", data=step)
            if labels is not None:
                found = [str(x) for x in np.asarray(labels)[sample, step]]
                group.create_dataset("label", data=found, dtype=text)
            for name in FIELDS:
                values = getattr(layer, name)[step, sample]
                group.create_dataset(name, data=values, compression="gzip", shuffle=True)
    with atomic_write(path) as target:
        target.write(buffer.getvalue())
