"""A question as a folder of runs: what is planned, what it costs, what trains together."""
