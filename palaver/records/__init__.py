"""Conversations on paper: their forms, figures, pseudonyms and differences. Values in, values out; no files."""
