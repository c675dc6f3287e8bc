"""One file for each family of models: its config and the names of its weights."""
