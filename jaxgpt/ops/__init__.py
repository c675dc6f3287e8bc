"""F1: pure array functions without parameters."""
