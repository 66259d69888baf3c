"""The Coherent Denoising engine."""
