"""Inference: from images of any size to masks and probabilities."""
