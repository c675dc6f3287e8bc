"""Attention with keys that travel around the devices of a row: when which pieces meet (`plan`), and the kernel."""
