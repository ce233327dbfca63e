"""Labels, predictions, probabilities and valid pixels for the tests of metrics."""

import numpy as np


def names(classes: int) -> tuple[str, ...]:
    return tuple(f'class {i}' for i in range(classes))


def blobs(rng: np.random.Generator, shape: tuple[int, ...], smooth: int) -> np.ndarray:
    """Smooth random numbers, so that thresholds of them are objects with outlines."""
    values = rng.standard_normal(shape)
    for axis in (0, 1):
        values = sum(np.roll(values, shift, axis) for shift in range(-smooth, smooth + 1))
    return values / np.std(values)


def example(overlapping: bool, seed: int = 0, size: tuple[int, int] = (23, 31), classes: int = 4
            ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Labels, predictions, probabilities and valid of one image; the last class is never a label.

    With overlapping masks labels, predictions and valid have an axis of classes.
    """
    rng = np.random.default_rng(seed)
    scores = blobs(rng, (*size, classes), 2)
    scores[..., -1] -= 2
    noisy = scores + 0.6 * blobs(rng, scores.shape, 2)
    if overlapping:
        labels = scores > 0.5
        labels[..., -1] = False
        probabilities = 1 / (1 + np.exp(1 - 2 * noisy))
        predictions = probabilities > 0.5
    else:
        labels, predictions = scores[..., :-1].argmax(-1), noisy.argmax(-1)
        odds = np.exp(2 * noisy)
        probabilities = odds / odds.sum(-1, keepdims=True)
    valid = blobs(rng, labels.shape, 1) < 1.2
    return (labels.astype(np.int32), predictions.astype(np.uint8),
            probabilities.astype(np.float32), valid)


def wild(array: np.ndarray, valid: np.ndarray, seed: int = 5) -> np.ndarray:
    """The same with random numbers where not valid; NaN among them in probabilities."""
    rng = np.random.default_rng(seed)
    values = [-7, 255, 10 ** 6] if array.dtype.kind == 'i' else [0, 1, 2, 3, 255]
    if array.dtype.kind == 'f':
        values, valid = [np.nan, -3, 2, 0.5], np.broadcast_to(
            valid if valid.ndim == array.ndim else valid[..., None], array.shape)
    return np.where(valid, array, rng.choice(values, array.shape)).astype(array.dtype)
