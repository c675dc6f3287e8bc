"""Patterns computed by several calls of a fused kernel: a call (`fused`, `plain`), and what joins them (`kernel`)."""
