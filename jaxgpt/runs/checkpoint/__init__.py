"""Checkpoints: saved whole, told sound by their manifest, restored on any mesh."""
