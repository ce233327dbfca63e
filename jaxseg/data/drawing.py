"""Shapes with textures, light, blur and noise, for synthetic data sets, as float32 in 0-1."""

import cv2
import numpy as np

SHAPES = ('circle', 'square', 'triangle', 'star')


def draw_texture(rng: np.random.Generator, size: tuple[int, int], contrast: float) -> np.ndarray:
    """(H, W, 3): a color with stripes, a checkerboard or clouds of a paler one over it."""
    first, second = rng.uniform(0, 1, (2, 3))
    second = first + contrast * (second - first)
    y, x = np.meshgrid(*(np.arange(side, dtype=np.float32) for side in size), indexing='ij')
    angle, period = rng.uniform(0, np.pi), rng.uniform(5, 16)
    along = np.cos(angle) * x + np.sin(angle) * y
    across = np.cos(angle) * y - np.sin(angle) * x
    wave, cross_wave = (np.sin(2 * np.pi * position / period) for position in (along, across))
    kind = rng.integers(4)
    if kind == 0:
        pattern = 0.5 + 0.5 * wave
    elif kind == 1:
        pattern = (wave * cross_wave > 0).astype(np.float32)
    elif kind == 2:
        coarse = rng.random((2 + size[0] // 16, 2 + size[1] // 16), dtype=np.float32)
        pattern = cv2.resize(coarse, (size[1], size[0]), interpolation=cv2.INTER_CUBIC)
    else:
        pattern = np.zeros(size, np.float32)
    pattern = np.clip(pattern, 0, 1)[..., None]
    return (first + pattern * (second - first)).astype(np.float32)


def place_shapes(rng: np.random.Generator, size: tuple[int, int], count: int
                 ) -> list[tuple[np.ndarray, float]]:
    """Centres (x, y) and radii of shapes, which may be cut or overlap but stay recognisable."""
    places: list[tuple[np.ndarray, float]] = []
    for _ in range(20 * count):
        radius = min(size) * rng.uniform(0.22, 0.38)
        center = rng.uniform(0.6 * radius, np.array(size[::-1]) - 0.6 * radius)
        if all(np.hypot(*(center - other)) > 0.8 * (radius + reach) for other, reach in places):
            places.append((center, radius))
        if len(places) == count:
            break
    return places


def draw_shape(rng: np.random.Generator, image: np.ndarray, shape: str, center: np.ndarray,
               radius: float) -> np.ndarray:
    """Draws one shape over what is there; returns where, (H, W) bool."""
    covered = np.zeros(image.shape[:2], np.uint8)
    # OpenCV takes fractions of a pixel as integers: 4 bits after the point.
    points = np.rint((center + radius * _outline(shape, rng.uniform(-0.4, 0.4))) * 16)
    cv2.fillPoly(covered, [points.astype(np.int32)], 1, shift=4)
    left, top, across, down = cv2.boundingRect(covered)
    box = np.s_[top:top + down, left:left + across]
    inside = covered[box].astype(bool)
    if inside.any():
        texture = draw_texture(rng, inside.shape, 0.15)
        # A little contrast to what lies below, or the edge would be a matter of luck.
        below, above = image[box][inside].mean(0), texture[inside].mean(0)
        if np.abs(above - below).max() < 0.2:
            texture = np.clip(texture + (0.35 if below.mean() < 0.5 else -0.35), 0, 1)
        np.copyto(image[box], texture, where=inside[..., None])
    return covered.astype(bool)


def photograph(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8: uneven light, the blur of a lens and the noise of a sensor."""
    height, width = image.shape[:2]
    corners = rng.uniform(0.6, 1.25, (2, 2)).astype(np.float32)
    light = cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)
    image = cv2.GaussianBlur(image * light[..., None], (0, 0), rng.uniform(0.4, 0.9))
    noise = rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(0.01, 0.04)
    return to_uint8(image + noise)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """From values in 0-1, clipped, to 0-255."""
    return np.clip(np.rint(255 * image), 0, 255).astype(np.uint8)


def _outline(shape: str, turn: float) -> np.ndarray:
    """Corners (N, 2) of a shape that fits into the unit circle."""
    count = {'square': 4, 'triangle': 3, 'star': 10}.get(shape, 48)
    upright = -np.pi / 2 + (np.pi / 4 if shape == 'square' else 0)  # y points down
    angles = upright + turn + np.arange(count) * 2 * np.pi / count
    reach = np.where(np.arange(count) % 2, 0.45, 1.0) if shape == 'star' else np.ones(count)
    return np.stack([reach * np.cos(angles), reach * np.sin(angles)], -1)
