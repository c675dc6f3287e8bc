"""Ids to batches: token files, windows, texts, the validation pass."""
