"""Turning raw scores and quantiles into statements that hold: intervals and sample paths."""
