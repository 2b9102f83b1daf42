"""Forecasters side by side: data and protocol, contestants, scoring, results, picture.

`datasets`, `worker` and `peers` also run in the peers' environment and need numpy alone of what is
not their own; `ours`, `contest` and `plot` need lstmkit.
"""
