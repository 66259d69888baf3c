"""Noise schedules, denoisers and their training."""
