"""Figures, as plain data for Plotly."""
