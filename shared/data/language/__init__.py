"""From texts to the tokens of a language model: corpora, and tokenizers as a run keeps them."""
