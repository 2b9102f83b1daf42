"""Texts as whole numbers: tokenizers and their vocabularies. No torch."""
