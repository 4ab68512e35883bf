"""Mixture: the order of examples over sources and stages, completions behind their prompt, and packing."""
