"""Finding tools by what they are about: words and their stems, synonyms, an index, spelling."""
