"""Context: features -> features of the same height and width, what the pixels know of each other."""
