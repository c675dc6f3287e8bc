"""How well answers fit: NumPy on the host, float64. N rows, C classes.

What a set of rows cannot tell, such as the ROC curve of rows of one class, is NaN.
"""
