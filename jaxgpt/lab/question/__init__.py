"""What an experiment file says: arms, seeds, metric, budget, ladder."""
