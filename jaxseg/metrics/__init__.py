"""Metrics: states on the host, merged over batches and processes; scores are computed once.

A metric is a frozen state of sums and counts with this interface:

| | |
|---|---|
| `empty(classes)` | the state before anything is counted |
| `count(labels, predictions, valid)` | the state with more pixels, or one more image, in it |
| `merge(other)` | both together |
| `per_class()`, `summary()` | `{score: (classes,)}`, `{score: float}`; NaN where there is none |
| `json()`, `table()` | everything as plain values, and as text |

Labels are class indices (H, W), or 0 and 1 (H, W, classes) where masks overlap, with a `valid` of
the same shape; what is not valid changes no score. `calibration` and `thresholds` take
probabilities (H, W, classes) in place of predictions, `objects` takes both, and `images` the name
of the image as well. A class in neither labels nor predictions has no score, and is left out of
means.
"""
