"""Looking at data before anything is trained on them, and writing them in the common format."""
