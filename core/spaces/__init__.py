"""Spaces: from features to latents and back."""
