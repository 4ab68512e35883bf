"""Figures: plotly figures from numbers that were read before."""
