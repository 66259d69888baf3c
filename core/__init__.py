"""The science: spaces, cohorts, diffusion, ensembles, evaluation."""
