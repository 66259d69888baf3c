"""Recipes: composed, resolved, explained, run."""
