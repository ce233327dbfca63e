"""Metrics: (sum, count) states, merged over batches and devices, computed once."""
