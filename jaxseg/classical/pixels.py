"""Between images and classifiers: pixels drawn for training, and masks predicted by strips."""

from collections.abc import Callable, Iterator

import numpy as np

Features = Callable[[np.ndarray, slice], np.ndarray]
STRIP = 2 ** 17  # pixels whose features are in memory at once
FEWEST = 25  # pixels drawn from an image; of more images than these allow, some are left out


def shares(images: int, pixels: int) -> tuple[list[int], int]:
    """The images from which `pixels` are drawn in all, and how many from each, at least `FEWEST`.

    Of too many images those are taken that are evenly spaced.
    """
    chosen = min(images, max(1, pixels // FEWEST))
    return np.linspace(0, images - 1, chosen).astype(int).tolist(), -(-pixels // chosen)


def draw_pixels(valid: np.ndarray, count: int, seed: tuple[int, ...]) -> np.ndarray:
    """Flat indices, ascending, of `count` valid pixels, or of all where there are fewer."""
    places = np.flatnonzero(valid)
    if len(places) <= count:
        return places
    return np.sort(np.random.default_rng(seed).choice(places, count, replace=False))


def features_at(features: Features, image: np.ndarray, value_range: tuple[float, float],
                places: np.ndarray) -> np.ndarray:
    """The features of the pixels at these flat indices, which ascend, (N, F)."""
    width, found = image.shape[1], []
    for rows, values in _strips(features, image, value_range):
        first, last = np.searchsorted(places, [rows.start * width, rows.stop * width])
        found.append(values[places[first:last] - rows.start * width])
    return np.concatenate(found)


def predict_mask(features: Features, predict: Callable[[np.ndarray], np.ndarray],
                 image: np.ndarray, value_range: tuple[float, float]) -> np.ndarray:
    """The label of every pixel, (H, W)."""
    found = [predict(values) for _, values in _strips(features, image, value_range)]
    return np.concatenate(found).reshape(image.shape[:2])


def _strips(features: Features, image: np.ndarray, value_range: tuple[float, float]
            ) -> Iterator[tuple[slice, np.ndarray]]:
    """The features of all pixels, (pixels, F), by strips of whole rows."""
    low, high = value_range
    share = (image.astype(np.float32) - low) / np.float32(high - low)
    height, width = image.shape[:2]
    step = max(1, STRIP // width)
    for top in range(0, height, step):
        rows = slice(top, min(top + step, height))
        values = features(share, rows)
        yield rows, np.ascontiguousarray(values).reshape(-1, values.shape[-1])
