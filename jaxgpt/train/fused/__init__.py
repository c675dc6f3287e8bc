"""Runs that differ in seed and inputs only, trained as one program."""
