"""Pure functions of tensors and numbers. No model, file or rank is known here."""
