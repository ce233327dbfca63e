"""Decoders: stages of an encoder -> features at the finest stride used."""
