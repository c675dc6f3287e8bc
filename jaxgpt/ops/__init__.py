"""Array functions without parameters.

They are pure but for two context variables, which are read while a program is traced and never inside a compiled one:
the mesh and the shardings that it is traced for (`sharding.constraining`), and the numbers of the rows that dropout is
drawn for (`random_masks.by_row`). Where neither is set, a value depends on the arguments alone.
"""
