"""Pictures that belong to no report: of attention patterns, and of one model's similarities."""
