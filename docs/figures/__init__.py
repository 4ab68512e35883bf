"""The figures of the documentation: the numbers, the pictures, and what draws one from the other."""
