"""Sales that follow promotions: what is known ahead, sample paths, and what a promotion is worth.

python examples/forecast_promotions.py    a minute; makes its own data
"""

from __future__ import annotations

import numpy as np
import polars as pl

import lstmkit

ROWS, HORIZON, SHOPS = 400, 14, 20


def sales() -> pl.DataFrame:
    """Daily sales of shops; a promotion raises them by half. The last rows are still to come."""
    random, frames = np.random.default_rng(0), []
    days = np.arange(ROWS + HORIZON)
    for k in range(SHOPS):
        promotion = random.random(len(days)) < 0.15
        week = 100 + 20 * np.sin(2 * np.pi * (days + k) / 7)
        sold = (k + 1) * (week * (1 + 0.5 * promotion) + random.normal(0, 6, len(days)))
        frames.append(
            pl.DataFrame(
                {
                    "shop": f"shop {k}",
                    "day": np.datetime64("2024-01-01") + days,
                    "sold": [float(y) if i < ROWS else None for i, y in enumerate(sold)],
                    "promotion": np.where(promotion, "yes", "no"),
                }
            )
        )
    return pl.concat(frames)


def main() -> None:
    table = sales()
    model = lstmkit.Forecaster(HORIZON, known="promotion", epochs=8).fit(table)
    print(model.report_)

    forecast = model.predict(table)  # rows without sales say what is planned
    planned = table.filter(pl.col("sold").is_null())["promotion"] == "yes"
    with_it, without = (forecast["y_hat"].filter(p).mean() for p in (planned, ~planned))
    print(f"a day with a promotion sells {with_it / without:.2f} times as much as one without")

    # How much will each shop sell in the whole fortnight? Quantiles of sums need paths.
    total = model.sample(table, 500).sum(-1)
    low, middle, high = np.quantile(total[0], [0.1, 0.5, 0.9])
    print(f"shop 0, the next {HORIZON} days: {middle:.0f} (80 % between {low:.0f} and {high:.0f})")


if __name__ == "__main__":
    main()
