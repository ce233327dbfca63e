"""Training: pure steps, the loop around them, and everything that a run writes."""
