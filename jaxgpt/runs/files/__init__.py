"""The files of a run's folder: who may write them, and where they came from."""
