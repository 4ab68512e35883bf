"""Inference: sampling, decoding with a KV cache, vLLM, scoring, best-of-n and chat."""
