"""Objects as sets of pixels: components by flood fill, matches and average precision by loops."""

import math

import numpy as np

Pixels = set[tuple[int, int]]


def components(mask: np.ndarray) -> list[Pixels]:
    """Pixels that touch, at corners too."""
    left, found = set(map(tuple, np.argwhere(mask).tolist())), []
    while left:
        border, part = [left.pop()], set()
        while border:
            y, x = border.pop()
            part.add((y, x))
            beside = {(y + i, x + j) for i in (-1, 0, 1) for j in (-1, 0, 1)} & left
            left -= beside
            border += beside
        found.append(part)
    return found


def iou(one: Pixels, other: Pixels) -> float:
    return len(one & other) / len(one | other)


def may_lie_in_void(part: Pixels, voids: list[Pixels]) -> bool:
    """Whether the areas of void that it touches have more pixels than it has."""
    around = {(y + i, x + j) for y, x in part for i in (-1, 0, 1) for j in (-1, 0, 1)}
    return sum(len(void) for void in voids if void & around) > len(part)


def evaluate(truth: np.ndarray, guess: np.ndarray, known: np.ndarray, probabilities: np.ndarray
             ) -> tuple[list[float], list[tuple[int, bool]], list[tuple[int, bool, int]]]:
    """One class in one image.

    Returns:
      `[tp, fp, fn, sum of IoUs]`; (thousandths of its mean probability, whether right) of every
      prediction that counts; (pixels, whether found, pixels found) of every object.
    """
    truths, voids = components(truth), components(~known)
    matches, detections, found = [0, 0, 0, 0.0], [], set()
    for part in components(guess):
        best = max(range(len(truths)), key=lambda i: iou(truths[i], part), default=None)
        right = best is not None and iou(truths[best], part) > 0.5
        if right:
            found.add(best)
            matches[0] += 1
            matches[3] += iou(truths[best], part)
        elif may_lie_in_void(part, voids):
            continue
        matches[1] += not right
        level = math.floor(1000 * np.mean([probabilities[pixel] for pixel in part], dtype=float))
        detections.append((min(level, 999), right))
    matches[2] = len(truths) - len(found)
    objects = [(len(part), i in found, sum(bool(guess[pixel]) for pixel in part))
               for i, part in enumerate(truths)]
    return matches, detections, objects


def average_precision(detections: list[tuple[int, bool]], truths: int) -> float:
    """The area under the highest precision at each recall or above; equal scores come together."""
    points = []
    for level in {level for level, _ in detections}:
        accepted = [right for other, right in detections if other >= level]
        points.append((sum(accepted) / truths, np.mean(accepted)))
    recalls = sorted({recall for recall, _ in points})
    widths = np.diff([0, *recalls])
    return sum(width * max(p for r, p in points if r >= recall)
               for width, recall in zip(widths, recalls, strict=True))
