"""Losses: (logits, labels, valid) -> (sum, count)."""
