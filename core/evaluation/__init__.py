"""Measures and experiments."""
