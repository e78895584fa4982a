"""Labels to answers; needs NumPy and scikit-image, never Keras."""
