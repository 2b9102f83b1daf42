"""Recordings as files hold every valid number, under the names that they had."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from inspection.networks import Reader, batch

from lstmkit.errors import UserError
from lstmkit.inspection import traces
from lstmkit.inspection.record import FIELDS, Recording, observe

LENGTHS = [3, 12, 1, 7]
SAMPLES = ("a", "b", "c", "d")


def recording(**options: int) -> Recording:
    return observe(Reader(**options), batch(), lengths=torch.tensor(LENGTHS))


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".csv", ".csv.gz"])
def test_tables_hold_a_row_a_sample_layer_step_and_unit(tmp_path: Path, suffix: str) -> None:
    found = recording()
    labels = np.array([[f"t{k}" for k in range(12)]] * 4)
    path = traces.write(found, tmp_path / f"traces{suffix}", SAMPLES, labels)
    read = {".parquet": pl.read_parquet, ".arrow": pl.read_ipc}.get(suffix, pl.read_csv)
    table = read(path)
    assert len(table) == 2 * sum(LENGTHS) * 8
    row = table.filter(
        (pl.col("sample") == "d") & (pl.col("layer") == "lstm.1") & (pl.col("step") == 5)
    ).sort("unit")
    assert row["label"].to_list() == ["t5"] * 8
    for field in FIELDS:
        wanted = getattr(found["lstm.1"], field)[5, 3]
        np.testing.assert_allclose(row[field].to_numpy(), wanted, rtol=1e-6)


def test_a_projection_leaves_the_missing_hidden_units_empty(tmp_path: Path) -> None:
    class Projected(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            import lstmkit

            self.lstm = lstmkit.LSTM(3, 8, proj_size=5, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.lstm(x)[0]

    path = traces.write(observe(Projected(), batch()), tmp_path / "t.parquet")
    hidden = pl.read_parquet(path).filter(pl.col("unit") >= 5)["hidden"]
    assert hidden.is_nan().all()


def test_hdf5_holds_what_lstmvis_reads(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    found = recording()
    path = traces.write(found, tmp_path / "traces.h5", SAMPLES)
    with h5py.File(path) as file:
        group = file["lstm.1"]
        assert group["cell"].shape == (sum(LENGTHS), 8)
        at = (group["sample"][:] == 3) & (group["step"][:] == 5)
        np.testing.assert_array_equal(group["cell"][at][0], found["lstm.1"].cell[5, 3])
        assert (np.diff(group["sample"][:]) >= 0).all()  # one sample after the other
        assert [s.decode() for s in file["samples"][:]] == list(SAMPLES)


def test_an_unknown_suffix_is_said_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="parquet"):
        traces.write(recording(), tmp_path / "traces.xlsx")
    assert not list(tmp_path.iterdir())
