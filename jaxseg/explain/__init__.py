"""Explain: which inputs a trained model uses; models reach this package as functions."""
