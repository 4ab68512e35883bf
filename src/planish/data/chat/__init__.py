"""Chat templates, function calls and tokenizers: a conversation as text, as tokens, and with its loss mask."""
