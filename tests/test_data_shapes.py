"""Which pixels an outline, a stroke, a bitmap and run lengths hold."""

import numpy as np
import pytest

from jaxseg.data.shapes import (
    Bitmap,
    Polygons,
    RunLengths,
    Stroke,
    decode_counts,
    has_area,
    outside,
)
from jaxseg.errors import InputError
from tests.references import rasters


def drawn(figure, height, width):
    patch = figure.draw(height, width)
    mask = np.zeros((height, width), bool)
    mask[patch.place] = patch.inside
    return mask


def polygon(*points, more=()):
    return Polygons(tuple(np.array(part, float) for part in (points, *more)))


def picture(*rows):
    return np.array([[letter == '#' for letter in row] for row in rows])


@pytest.mark.parametrize('points, rows', [
    # A rectangle of whole pixels holds these, and none of those beside it.
    ([(1, 1), (4, 1), (4, 3), (1, 3)], ['.....', '.###.', '.###.', '.....']),
    # Corners in the middle of pixels: those on the left and upper edges belong to it.
    ([(1.5, 0.5), (3.5, 0.5), (3.5, 2.5), (1.5, 2.5)], ['.##..', '.##..', '.....', '.....']),
    ([(1.51, 0.51), (3.51, 0.51), (3.51, 2.51), (1.51, 2.51)],
     ['.....', '..##.', '..##.', '.....']),
    # Centers with x + y below 4.
    ([(0, 0), (4, 0), (0, 4)], ['###..', '##...', '#....', '.....']),
    # A notch from above, to the center of the rectangle.
    ([(0, 0), (2.5, 2), (5, 0), (5, 3), (0, 3)], ['#...#', '##.##', '#####', '.....']),
    # Cut off on every side.
    ([(-9, -9), (99, -9), (99, 99), (-9, 99)], ['#####'] * 4),
    ([(3, -5), (9, 2), (3, 9)], ['...##', '...##', '...##', '...##']),
    # Between the centers of two columns there is no pixel.
    ([(1.6, 0), (2.4, 0), (2.4, 4), (1.6, 4)], ['.....'] * 4),
])
def test_pixels_of_a_polygon_are_those_with_their_center_inside(points, rows):
    for order in (points, points[::-1], points[2:] + points[:2]):
        np.testing.assert_array_equal(drawn(polygon(*order), 4, 5), picture(*rows))


def test_a_bow_and_a_double_loop_follow_the_even_odd_rule():
    bow = polygon((0, 0), (6, 6), (6, 0), (0, 6))
    np.testing.assert_array_equal(drawn(bow, 6, 6), rasters.fill(
        [(0, 0), (6, 6), (6, 0), (0, 6)], 6, 6))
    twice = [(0, 0), (6, 0), (6, 6), (0, 6), (0, 0), (2, 2), (4, 2), (4, 4), (2, 4), (2, 2)]
    hole = drawn(polygon(*twice), 6, 6)
    assert hole.sum() == 36 - 4 and not hole[2:4, 2:4].any()


def test_parts_are_united_even_where_they_overlap():
    both = polygon((0, 0), (3, 0), (3, 3), (0, 3), more=[[(2, 2), (5, 2), (5, 4), (2, 4)]])
    np.testing.assert_array_equal(drawn(both, 4, 5), picture('###..', '###..', '#####', '..###'))
    assert both.box == (0, 0, 5, 4)


def test_random_polygons_are_those_of_exact_arithmetic():
    rng = np.random.default_rng(0)
    for _ in range(20):
        # Quarters of a pixel, so that many centers are on edges and corners.
        points = rng.integers(-8, 60, (rng.integers(3, 8), 2)) / 4
        np.testing.assert_array_equal(drawn(polygon(*points), 12, 13),
                                      rasters.fill(points, 12, 13), str(points))


def test_polygons_that_share_edges_share_no_pixel_and_leave_none():
    rng = np.random.default_rng(1)
    for _ in range(20):
        center = rng.uniform(2, 30, 2)
        border = [(0, 0), (17, 0), (32, 0), (32, 9), (32, 32), (11, 32), (0, 32), (0, 5)]
        fan = [polygon(center, one, other)
               for one, other in zip(border, border[1:] + border[:1], strict=True)]
        assert (sum(drawn(part, 32, 32).astype(int) for part in fan) == 1).all()


def test_a_disc_and_a_line_hold_the_centers_within_their_radius():
    disc = Stroke(np.array([[2.5, 2.0]]), 1.6)
    np.testing.assert_array_equal(drawn(disc, 5, 5), picture(
        '..#..', '.###.', '.###.', '..#..', '.....'))
    line = Stroke(np.array([[1.0, 1.5], [4.0, 1.5], [4.0, 9.5]]), 0.6)
    np.testing.assert_array_equal(drawn(line, 4, 6), picture(
        '......', '#####.', '...##.', '...##.'))
    rows, columns = np.mgrid[:9, :9] + 0.5
    along = np.array([3.0, 4.0]) / 5
    far = np.stack([columns - 2, rows - 1], -1)
    at = (far @ along).clip(0, 5)
    distance = np.linalg.norm(far - at[..., None] * along, axis=-1)
    slanted = Stroke(np.array([[2.0, 1.0], [5.0, 5.0]]), 1.27)
    np.testing.assert_array_equal(drawn(slanted, 9, 9), distance < 1.27)
    assert np.allclose(slanted.box, (0.73, -0.27, 6.27, 6.27))


def test_a_bitmap_is_cut_off_at_the_border():
    pixels = picture('#.#', '###')
    np.testing.assert_array_equal(drawn(Bitmap(pixels, 1, 1), 3, 4),
                                  picture('....', '.#.#', '.###'))
    np.testing.assert_array_equal(drawn(Bitmap(pixels, -1, 2), 2, 4), picture('..##', '....'))


# Written by pycocotools.mask.encode.
@pytest.mark.parametrize('text, rows', [
    ('0141N0003', ['#....', '.###.', '.###.', '.....']), ('9', ['...', '...', '...']),
    ('`2h3', ['.' * 40 + '#' * 60] * 2)])
def test_run_lengths_of_pycocotools_are_read(text, rows):
    mask = picture(*rows)
    counts = decode_counts(text)
    assert counts.tolist() == rasters.run_lengths(mask)
    assert rasters.compress(counts.tolist()) == text
    np.testing.assert_array_equal(drawn(RunLengths(counts, mask.shape), *mask.shape), mask)


def test_run_lengths_come_back_from_the_text_as_they_were():
    rng = np.random.default_rng(0)
    for _ in range(60):
        shape = tuple(rng.integers(1, 40, 2))
        mask = rng.random(shape) < rng.random()
        counts = rasters.run_lengths(mask)
        assert decode_counts(rasters.compress(counts)).tolist() == counts
        np.testing.assert_array_equal(drawn(RunLengths(np.array(counts), shape), *shape), mask)
    large = [0, 5_000_000, 1, 2, 3_000_000_000, 7]
    assert decode_counts(rasters.compress(large)).tolist() == large


@pytest.mark.parametrize('text', ['0141N000S', ' ', 'ü', 'p1', 'o' * 12 + '0'])
def test_damaged_texts_of_run_lengths_are_refused(text):
    with pytest.raises(InputError, match='damaged'):
        decode_counts(text)


def test_run_lengths_of_another_number_of_pixels_or_size_are_refused():
    with pytest.raises(InputError, match='run lengths of 11 pixels for a size of 4x3'):
        RunLengths(np.array([4, 7]), (4, 3))
    with pytest.raises(InputError, match='run lengths of 12 pixels'):
        RunLengths(np.array([14, -2]), (4, 3))
    with pytest.raises(InputError, match='of 3x4 pixels for an image of 4x3'):
        RunLengths(np.array([5, 7]), (4, 3)).draw(3, 4)


def test_points_on_a_line_have_no_area():
    assert not has_area(np.array([[0, 0], [2, 4], [1, 2], [3, 6]], np.float32))
    assert not has_area(np.array([[5, 5], [5, 5], [5, 5]], np.float32))
    assert has_area(np.array([[0, 0], [2, 4], [1, 2], [3, 6.01]], np.float32))


def test_figures_beside_the_image_are_outside_and_those_that_touch_its_border_too():
    square = [(2, 2), (4, 2), (4, 4), (2, 4)]
    for shift, expected in (((0, 0), False), ((-4, 0), True), ((-3.5, 0), False), ((0, -4), True),
                            ((6, 0), True), ((5.5, 0), False), ((0, 3), True), ((0, 2.9), False)):
        assert outside(polygon(*np.add(square, shift)), 5, 8) == expected


@pytest.mark.peers
@pytest.mark.filterwarnings('ignore:__array__:DeprecationWarning')  # of pycocotools
def test_pixels_are_those_of_pycocotools_but_for_a_few_on_slanted_edges():
    mask_utils = pytest.importorskip('pycocotools.mask')
    rng = np.random.default_rng(0)
    total = different = 0
    for _ in range(200):
        points = rng.uniform(0, 100, (5, 2))
        runs = mask_utils.frPyObjects([points.ravel().tolist()], 100, 100)
        theirs, ours = mask_utils.decode(runs)[..., 0] > 0, drawn(polygon(*points), 100, 100)
        total, different = total + theirs.sum(), different + (ours != theirs).sum()
        counts = decode_counts(runs[0]['counts'].decode())
        np.testing.assert_array_equal(drawn(RunLengths(counts, (100, 100)), 100, 100), theirs)
    assert different < 0.02 * total
