"""Which patient to measure next: outcomes, counterfactual variance, ranking."""
