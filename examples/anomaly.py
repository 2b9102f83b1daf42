"""A service watched for a week: alerts, their causes, and a stream that says the same.

python examples/anomaly.py    a minute; makes its own data
"""

from __future__ import annotations

import polars as pl

import lstmkit
from lstmkit.demos import incidents


def main() -> None:
    table = pl.DataFrame(incidents.metrics())
    learnt, week = table[: incidents.LEARNT], table[incidents.LEARNT :]
    watch = lstmkit.AnomalyDetector(label="incident", alerts_per_day=1, gap=12).fit(learnt)
    print(watch.evaluate(table))

    alerts = watch.predict(table).filter(pl.col("start") >= week["time"][0])
    with pl.Config(tbl_cols=-1, tbl_rows=-1, fmt_str_lengths=70, tbl_width_chars=160):
        print(alerts.select("start", "end", "severity", "reasons"))

    stream, told = watch.stream(), []
    for row in table.iter_rows(named=True):
        alert = stream.step(row)["alert"]
        if alert and alert["state"] == "begun" and row["time"] >= week["time"][0]:
            told.append(row["time"])
    print("the stream began the same alerts:", told == alerts["start"].to_list())


if __name__ == "__main__":
    main()
