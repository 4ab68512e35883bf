"""What a model is worth: so far, how likely it finds text that it was not trained on."""
