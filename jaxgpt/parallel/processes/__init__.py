"""Several processes as one run: joining, agreeing, and noticing who is gone."""
