"""Other libraries' weights, in and out. One two-way name map per family; numpy in, numpy out, no torch."""
