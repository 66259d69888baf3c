"""Templates of what plugin packages contain."""
