"""Statistics of paired runs, on numbers alone."""
