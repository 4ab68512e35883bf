"""Evaluation: held-out losses, comparisons of models and a probe of what a model knows."""
