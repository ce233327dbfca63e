"""Decoders: {stride: features} -> features at the finest stride used."""
