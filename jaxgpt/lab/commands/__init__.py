"""What the verbs `ablate` and `lab ...` do."""
