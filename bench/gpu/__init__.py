"""The parts of bench/gpu.py. Each runs in a process of its own: `python -m gpu.part TARGET` with bench/ on the path."""
