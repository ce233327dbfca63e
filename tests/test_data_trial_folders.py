"""The trial folders are small, the same each time, and read by their data types."""

import numpy as np
import pytest
import tifffile

from jaxseg.data.coco import Coco
from jaxseg.data.folder import Folder
from jaxseg.data.folds import Fold
from jaxseg.data.inspection import look_through
from jaxseg.data.labelme import LabelMe
from jaxseg.data.object_masks import ObjectMasks
from jaxseg.data.voc import Voc
from tests import trial_folders

SHARES = {'train': 0.8, 'val': 0.2}


@pytest.fixture(scope='module')
def trials(tmp_path_factory):
    """All trial folders, written when they are first asked for."""
    root, written = tmp_path_factory.mktemp('trials'), {}

    def get(name):
        if name not in written:
            trial_folders.TRIALS[name](root / name)
            written[name] = root / name
        return written[name]

    return get


def look(data, split='train'):
    source = data.source(split)
    problems, counts = look_through(source, data.spec)
    assert not problems
    return len(source), counts.pixels / counts.labelled, counts.void / (counts.void
                                                                        + counts.labelled)


@pytest.mark.parametrize('name', trial_folders.TRIALS)
def test_every_folder_is_below_one_megabyte(trials, name):
    files = [path for path in trials(name).rglob('*') if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 1_000_000


def test_a_folder_is_the_same_each_time(trials, tmp_path):
    trial_folders.coco_polygons(tmp_path)
    for path in sorted(trials('coco_polygons').rglob('*.*')):
        assert path.read_bytes() == (tmp_path / path.relative_to(
            trials('coco_polygons'))).read_bytes()


def test_thin_lines_are_a_tenth_of_the_pixels(trials):
    data = Folder(str(trials('thin_lines')), classes=('cell', 'membrane'), channels=1,
                  splits={'train': 1.0}, labels={'binary': True})
    count, shares, void = look(data)
    assert count == 30 and 0.05 < shares[1] < 0.15 and void == 0


def test_large_photos_have_masks_of_colors(trials):
    count, shares, void = look(Folder(str(trials('large_photos')), splits={'train': 1.0}))
    assert count == 6 and (shares > 0.02).all() and void == 0


def test_tiles_of_six_channels_differ_in_the_last_three_alone(trials):
    data = Folder(str(trials('satellite_tiles')), channels=6, splits={'train': 1.0})
    count, shares, void = look(data)
    assert count == 32 and (shares > 0.2).all() and 0 < void < 0.05
    assert data.spec.value_range == (0, 65535)
    samples = list(data.source('train'))
    pixels = np.concatenate([sample['image'].reshape(-1, 6) for sample in samples])
    labels = np.concatenate([sample['mask'].ravel() for sample in samples])
    means = np.stack([pixels[labels == label].mean(0) for label in range(3)])
    spread = np.ptp(means, 0) / pixels[labels < 255].std(0)
    assert (spread[:3] < 0.2).all() and (spread[3:] > 1.5).all()
    stored = tifffile.imread(trials('satellite_tiles') / 'images' / 'scene0_tile0.tif')
    np.testing.assert_array_equal(stored, samples[0]['image'])


def test_palette_masks_are_a_tree_of_voc_with_a_void_border(trials):
    data = Voc(str(trials('palette_masks')))
    assert data.spec.splits == ('train', 'val', 'trainval') and len(data.spec.classes) == 4
    count, shares, void = look(data)
    assert count == 20 and (shares > 0.01).all() and 0.03 < void < 0.15
    assert look(data, 'val')[0] == 8


def test_nuclei_have_a_file_each(trials):
    count, shares, void = look(ObjectMasks(str(trials('object_masks')), splits={'train': 1.0}))
    assert count == 28 and 0.05 < shares[1] < 0.3 and void == 0
    touching = ObjectMasks(str(trials('object_masks')), splits={'train': 1.0}, touching='void')
    assert 0.001 < look(touching)[2] < 0.02


def test_polygons_of_labelme_and_of_coco_give_the_same_masks(trials):
    labelme, coco = LabelMe(str(trials('json_polygons'))), Coco(str(trials('coco_polygons')))
    assert labelme.spec.classes == coco.spec.classes == ('background', 'bolt', 'nut', 'washer')
    for split, samples in (('train', 22), ('val', 8)):
        count, shares, void = look(labelme, split)
        assert count == samples and (shares > 0.02).all() and 0.001 < void < 0.01
        for one, other in zip(labelme.source(split), coco.source(split), strict=True):
            assert one['name'] == other['name']
            # A circle of LabelMe is a polygon of 24 corners in COCO.
            alike = (one['mask'] == other['mask']) | (one['mask'] == 3)
            assert alike.all() and (one['mask'] != other['mask']).mean() < 0.005


def test_a_fold_pools_the_samples_of_both_json_files(trials):
    data = Coco(str(trials('coco_polygons')))
    fold = Fold(data, fold=1, folds=3)
    known = {sample['name']: sample['mask'] for split in ('train', 'val')
             for sample in data.source(split)}
    names = [name for split in ('train', 'val') for name in fold.source(split).names]
    assert sorted(names) == sorted(known) and len(fold.source('val')) == 10
    for sample in fold.source('val'):
        np.testing.assert_array_equal(sample['mask'], known[sample['name']])
