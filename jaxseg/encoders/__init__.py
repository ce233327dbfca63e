"""Encoders: images -> {stride: features}."""
