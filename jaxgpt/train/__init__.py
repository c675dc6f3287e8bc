"""State, step, program and loop: how a run on one objective is trained."""
