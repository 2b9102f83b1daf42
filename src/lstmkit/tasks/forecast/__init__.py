"""Forecasting: many time series, one model, quantiles for every step ahead."""
