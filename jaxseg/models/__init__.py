"""Models: parts put together."""
