"""The one training loop, and what carries it: feed, optimiser, checkpoints, record."""
