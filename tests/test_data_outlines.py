"""Masks as polygons: outlines by hand, and back to the mask to the pixel."""

import json

import numpy as np
import pytest
from skimage.draw import polygon2mask

from jaxseg.data.outlines import fill, geojson, objects, outlines, run_lengths
from jaxseg.data.spec import DatasetSpec

SPEC = DatasetSpec('x', ('a', 'b', 'c'))
OVERLAPPING = DatasetSpec('x', ('a', 'b', 'c'), overlapping=True)


def pixels(*rows):
    return np.array([[int(value) for value in row] for row in rows])


def rings(*rows):
    """The polygons of the parts in a drawing, as lists of points."""
    return [[ring.tolist() for ring in polygon] for polygon in outlines(pixels(*rows))]


def by_skimage(polygons, size):
    """How often a pixel is in the polygons, its centre half a pixel from its corners."""
    found = np.zeros(size, int)
    for outer, *holes in polygons:
        found += polygon2mask(size, outer[:, ::-1] - 0.5)
        for hole in holes:
            found -= polygon2mask(size, hole[:, ::-1] - 0.5)
    return found


def test_a_pixel_is_a_square():
    assert rings('000', '010') == [[[[1, 1], [2, 1], [2, 2], [1, 2]]]]


def test_edges_that_go_straight_on_have_no_points():
    assert rings('111', '100') == [[[[0, 0], [3, 0], [3, 1], [1, 1], [1, 2], [0, 2]]]]


def test_parts_are_in_the_order_of_their_numbers():
    assert rings('2031') == [[[[3, 0], [4, 0], [4, 1], [3, 1]]], [[[0, 0], [1, 0], [1, 1], [0, 1]]],
                             [[[2, 0], [3, 0], [3, 1], [2, 1]]]]


def test_a_hole_runs_the_other_way():
    assert rings('111', '101', '111') == [[
        [[0, 0], [3, 0], [3, 3], [0, 3]], [[1, 2], [2, 2], [2, 1], [1, 1]]]]
    assert rings('1111', '1021', '1111') == [
        [[[0, 0], [4, 0], [4, 3], [0, 3]], [[1, 2], [3, 2], [3, 1], [1, 1]]],
        [[[2, 1], [3, 1], [3, 2], [2, 2]]]]


def test_rings_that_meet_in_a_corner_do_not_touch_themselves():
    assert rings('111', '101', '110') == [[
        [[0, 0], [3, 0], [3, 2], [2, 2], [2, 3], [0, 3]], [[1, 2], [2, 2], [2, 1], [1, 1]]]]
    assert rings('1111', '1011', '1101', '1111') == [[
        [[0, 0], [4, 0], [4, 4], [0, 4]],
        [[1, 2], [2, 2], [2, 1], [1, 1]], [[2, 3], [3, 3], [3, 2], [2, 2]]]]


@pytest.mark.parametrize('seed', range(12))
def test_polygons_fill_the_mask_that_they_came_from(seed):
    """Noise has all cases: single pixels, diagonal neighbours, holes in holes, the border."""
    rng = np.random.default_rng(seed)
    size = tuple(rng.integers(1, 15, 2))
    mask = rng.choice(3, size, p=[[0.4, 0.3, 0.3], [0.8, 0.1, 0.1]][seed % 2]).astype(np.uint8)
    back, times = np.full(size, 255), np.zeros(size, int)
    for one in objects(mask, SPEC):
        found = by_skimage(one.polygons, size)
        assert one.area == found.sum() and found.max() == 1
        np.testing.assert_array_equal(fill(one.polygons, size), found == 1)
        back[found == 1] = one.index
        times += found
    np.testing.assert_array_equal(back, mask)
    assert (times == 1).all()


def test_pixels_that_touch_in_a_corner_are_one_object_of_several_polygons():
    one, = (found for found in objects(pixels('0010', '0100', '1001'), SPEC)
            if found.index == 1 and found.area == 3)
    assert [polygon[0][0].tolist() for polygon in one.polygons] == [[2, 0], [1, 1], [0, 2]]


def test_masks_that_overlap_have_objects_of_their_own():
    mask = np.zeros((4, 5, 3), np.uint8)
    mask[:2, :, 0], mask[:, 1, 2] = 1, 1
    found = list(objects(mask, OVERLAPPING))
    assert [(one.index, one.area) for one in found] == [(0, 10), (2, 4)]
    np.testing.assert_array_equal(fill(found[1].polygons, (4, 5)), mask[..., 2])


def test_run_lengths_count_columns_from_top_to_bottom():
    def lengths(*rows):
        polygons = outlines(pixels(*rows))
        return run_lengths([ring for polygon in polygons for ring in polygon],
                           (len(rows), len(rows[0])))

    assert lengths('01', '11') == [1, 3]
    assert lengths('11', '11') == [0, 4]
    assert lengths('000', '010', '000') == [4, 1, 4]
    assert lengths('111', '101', '111') == [0, 4, 1, 4]
    assert run_lengths([], (2, 3)) == [6]


def test_geojson_closes_its_rings_and_names_the_class():
    mask = pixels('111', '101', '110')
    mask[2, 2] = 2
    found = json.loads(json.dumps(geojson(objects(mask, SPEC), SPEC, 'a/x.jpg', (3, 3))))
    assert {key: found[key] for key in ('type', 'image', 'height', 'width')} == {
        'type': 'FeatureCollection', 'image': 'a/x.jpg', 'height': 3, 'width': 3}
    inner, outer, corner = found['features']
    assert inner['properties'] == {'class': 'a', 'index': 0, 'area': 1}
    assert inner['geometry'] == {'type': 'Polygon', 'coordinates': [
        [[1, 1], [2, 1], [2, 2], [1, 2], [1, 1]]]}
    assert outer['geometry']['coordinates'] == [
        [[0, 0], [3, 0], [3, 2], [2, 2], [2, 3], [0, 3], [0, 0]],
        [[1, 2], [2, 2], [2, 1], [1, 1], [1, 2]]]
    assert corner['properties'] == {'class': 'c', 'index': 2, 'area': 1}
    parted = geojson(objects(pixels('10', '01'), SPEC), SPEC, 'x', (2, 2))
    assert [one['geometry']['type'] for one in parted['features']] == ['MultiPolygon'] * 2
