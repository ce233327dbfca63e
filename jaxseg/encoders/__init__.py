"""Encoders: images -> a tuple of stages (stride, features), in order of depth."""
