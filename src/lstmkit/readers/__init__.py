"""Readers bring a user's data in: one module a kind of source, nothing of torch, layers or tasks.

`calendar` (numpy) knows steps of time; `tables` reads CSV, Parquet and frames into series, with the
help of `files` (bytes to columns), `columns` (which column is what), `timestamps` (text to times),
`layouts` (rows of any shape), `grid` and `placing` (rows to regular steps), and `frames` (answers
in the user's words). `channels` reads series of several channels with the same help, its own
`channel_columns`, and `labels` (which rows are known to be anomalous). Columns beside the target
are `covariates`, with `wishes` (what was asked), `covariate_columns` (their cells), `future` (a
table of what is known ahead), and the generated `holidays` and `gaps`.
"""
