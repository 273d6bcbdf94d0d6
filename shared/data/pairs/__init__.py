"""Words and their translations: the alphabet, lists built in and from files, batches, and how far a word is off."""
