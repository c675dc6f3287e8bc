"""A trained model in use: loaded, encoding, converted."""
