"""Figures, each described once: data and marks, drawn by matplotlib and, in the report, by plotly."""
