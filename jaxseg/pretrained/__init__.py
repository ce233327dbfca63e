"""Other people's checkpoints, read without their libraries and converted to our variables."""
