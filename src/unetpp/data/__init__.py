"""Pixels on disk to labelled samples; needs NumPy, never Keras."""
