"""Metrics: states on the host, merged over batches and processes; scores are computed once."""
