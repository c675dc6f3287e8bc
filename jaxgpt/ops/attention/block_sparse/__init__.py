"""Attention over the blocks that a pattern keeps: which those are (`plan`), and the kernel that visits them."""
