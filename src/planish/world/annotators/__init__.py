"""Simulated annotators: pools with known errors and biases, their rankings, and how to recover the biases."""
