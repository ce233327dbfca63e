"""Explain: what a trained model looks at; models reach this room as functions."""
