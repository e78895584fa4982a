"""Samples to a trained model."""
