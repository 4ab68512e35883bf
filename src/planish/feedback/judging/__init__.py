"""Models as annotators: what they are asked, what their replies come to, and critiques that make answers better."""
