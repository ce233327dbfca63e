"""What the trial folders show: parts on a sheet of metal, flat shapes, light and noise."""

import cv2
import numpy as np
from PIL import Image, ImageDraw


def metal_parts(rng: np.random.Generator) -> tuple[np.ndarray, list[tuple[str, str, list]]]:
    """A picture of parts on a sheet, and its shapes: label, LabelMe's shape type, points."""
    height, width = 112, 144
    canvas = Image.new('RGB', (width, height), tuple(rng.integers(120, 150, 3).tolist()))
    draw, shapes = ImageDraw.Draw(canvas), []
    cells = rng.permutation([(x, y) for x in (24, 72, 120) for y in (28, 84)])
    for x, y in cells[:rng.integers(3, 6)]:
        label = ('bolt', 'nut', 'washer')[rng.integers(3)]
        x, y = x + rng.uniform(-4, 4), y + rng.uniform(-6, 6)
        turn = rng.uniform(0, 2 * np.pi)
        if label == 'washer':
            points, kind = [[x, y], [x + rng.uniform(11, 17), y]], 'circle'
        elif label == 'nut':
            kind, angles = 'polygon', turn + np.arange(6) * np.pi / 3
            points = around((x, y), rng.uniform(13, 18), angles).tolist()
        else:
            kind, angles = 'polygon', turn + np.array([0.25, np.pi - 0.25, np.pi + 0.25, -0.25])
            points = around((x, y), 21, angles).tolist()
        color = {'bolt': (70, 72, 80), 'nut': (176, 140, 64), 'washer': (196, 200, 208)}[label]
        draw.polygon([tuple(point) for point in corners_of(kind, points).tolist()], fill=color)
        shapes.append((label, kind, [[float(value) for value in point] for point in points]))
    if rng.random() < 0.3:  # a reflection that nobody could label
        draw.rectangle([0, 0, 12, 12], fill=(250, 250, 250))
        shapes.append(('_ignore_', 'rectangle', [[0.0, 0.0], [13.0, 13.0]]))
    return photo(rng, np.array(canvas), noise=9), shapes


def corners_of(kind: str, points: list) -> np.ndarray:
    """The polygon (N, 2) of a shape; a circle becomes 24 corners."""
    points = np.array(points, float)
    if kind == 'rectangle':
        (left, top), (right, bottom) = points
        return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    if kind == 'circle':
        return around(points[0], np.hypot(*(points[1] - points[0])), np.arange(24) * np.pi / 12)
    return points


def run_lengths(corners: np.ndarray, size: tuple[int, int]) -> dict:
    """An upright rectangle as COCO's uncompressed run lengths, down the columns."""
    inside = np.zeros(size, bool)
    (left, top), (right, bottom) = corners.min(0).astype(int), corners.max(0).astype(int)
    inside[top:bottom, left:right] = True
    flat = np.concatenate([[False], inside.ravel(order='F')])
    starts = np.flatnonzero(np.diff(flat))
    return {'size': list(size), 'counts': np.diff([0, *starts, inside.size]).tolist()}


def some_object(rng: np.random.Generator, height: int, width: int) -> tuple[int, np.ndarray]:
    """A label from 1 to 3, and the corners of a disc, a square or a triangle."""
    label = int(rng.integers(1, 4))
    angles = np.arange({1: 24, 2: 4, 3: 3}[label])
    angles = rng.uniform(0, 7) + angles * 2 * np.pi / len(angles)
    centre = rng.uniform((16, 16), (width - 16, height - 16))
    return label, around(centre, rng.uniform(14, 26), angles).round().astype(np.int32)


def around(centre: tuple[float, float], radius: float | np.ndarray, angles: np.ndarray
            ) -> np.ndarray:
    """Points (N, 2) in x and y on a circle, to hundredths of a pixel."""
    x, y = (centre[0] + radius * np.cos(angles), centre[1] + radius * np.sin(angles))
    return np.stack([x, y], -1).round(2)


def photo(rng: np.random.Generator, colors: np.ndarray, noise: float) -> np.ndarray:
    """Colors (H, W, 3) under uneven light, slightly blurred, with the noise of a sensor."""
    height, width = colors.shape[:2]
    light = cv2.resize(rng.uniform(0.82, 1.15, (3, 3)).astype(np.float32), (width, height))
    image = cv2.GaussianBlur(colors.astype(np.float32) * light[..., None], (0, 0), 0.8)
    return as_bytes(image + rng.normal(0, noise, image.shape))


def as_bytes(values: np.ndarray) -> np.ndarray:
    """Values as uint8, cut off at 0 and 255."""
    return np.clip(values, 0, 255).astype(np.uint8)
