"""Inference: from images of any size to masks and probabilities, one interface for all commands.

An inference method is built with `forward(variables, images) -> outputs`, a task, a batch size and
a function that puts a batch on the devices. It has

- `predictions(variables, images)`: (key, image) pairs -> (key, mask) pairs, in any order, lazily;
- `probabilities(variables, image)`: those of one image, as the task averages them;
- `rows(variables, image)` and `probability_rows(variables, image)`: the mask and the probabilities
  of one image that may be on disk, in pieces of some rows, where the method can;
- `compilations`: number of programs compiled so far;
- `windowed`: sizes of the images that went through windows since they were too large in one piece.

`augmented.TestTimeAugmentation` also has `variance(variables, image)`, its uncertainty.
"""
