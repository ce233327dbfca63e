"""Data: sources of samples, transforms on the host, and batches."""
