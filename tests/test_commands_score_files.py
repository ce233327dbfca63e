"""What an evaluation keeps of its samples, and the images that it writes."""

import numpy as np

from jaxseg.commands.score_files import Chosen, write_images
from jaxseg.data import visualize
from jaxseg.data.spec import DatasetSpec
from tests import runs

SPEC = DatasetSpec('data', ('a', 'b'), mean=(0.5,) * 3, std=(0.25,) * 3)


def test_images_of_large_samples_are_reduced_and_those_of_the_sheet_once_more(tmp_path,
                                                                              monkeypatch):
    monkeypatch.setattr(visualize, 'SHOWN_SIDE', 20)
    label = np.arange(40 * 30).reshape(40, 30) % 2
    sample = {'image': np.zeros((40, 30, 3), np.uint8), 'label': label, 'index': 2, 'name': 'x/y',
              'valid': np.ones((40, 30), bool)}
    chosen = Chosen(3, 2)
    chosen({**sample, 'index': 1}, label)
    chosen(sample, label)
    (index, (kept, prediction)), = chosen.kept.items()
    assert (index, kept['name']) == (2, 'x/y')
    np.testing.assert_array_equal(prediction, label[::2, ::2])
    np.testing.assert_array_equal(kept['label'], prediction)
    assert kept['image'].base is None is prediction.base  # or the whole array stays in memory
    write_images(tmp_path, 'test', SPEC, chosen.kept)
    assert runs.read_image(tmp_path / 'test_y.png').shape == (20, 45, 3)
    assert runs.read_image(tmp_path / 'test.png').shape[1] == 15
