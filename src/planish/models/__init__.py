"""Any unmodified Hugging Face causal LM: loading, packed forward passes, LoRA, sharding, export."""
