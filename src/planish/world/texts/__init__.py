"""The texts of a world: corpus, demonstrations, prompts and questions, and a parser that reads prompts back."""
