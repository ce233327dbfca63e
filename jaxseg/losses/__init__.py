"""Losses: pure functions `(logits, labels, valid, *, options) -> (sum, count)`.

Both are float32 scalars. The count depends on the labels and on `valid` alone, never on the logits,
so the gradient of a batch is exactly that of its parts: the sum of the parts' sums over the sum of
their counts. Nothing where `valid` is False changes the sum, the count or the gradient.

Softmax losses take one class index per pixel, labels (...) for logits (..., classes). Binary ones
(`binary_*`) take 0 or 1 for every class, labels of the shape of the logits. Either refuses the
labels of the other.
"""
