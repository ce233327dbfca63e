"""TFDS sources without TensorFlow, and the synthetic shapes."""

import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from jaxseg.data.camvid import Camvid
from jaxseg.data.mappings import KNOWN
from jaxseg.data.synthetic import CLASSES, Shapes
from jaxseg.data.tfds import Tfds
from jaxseg.errors import InputError

pytestmark = pytest.mark.filterwarnings('ignore::DeprecationWarning:(etils|tensorflow_datasets|importlib).*')
PET = np.array([[1, 2, 3], [2, 2, 1]], np.uint8).repeat(4, 0).repeat(4, 1)
CITY = np.arange(34, dtype=np.uint8)[None].repeat(3, 0)


def prepare(folder: pathlib.Path, dataset: str, splits: dict, image_key: str, mask_key: str, mask: np.ndarray) -> str:
    """A data set of a few pictures in the format of a registered one."""
    (folder / 'raw').mkdir(parents=True)
    Image.fromarray(mask).save(folder / 'raw' / 'mask.png')
    for i in range(max(splits.values())):
        Image.fromarray(np.full((*mask.shape, 3), i, np.uint8)).save(folder / 'raw' / f'{i}.png')

    class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = dataset
        VERSION = tfds.core.Version('1.0.0')

        def _info(self):
            return tfds.core.DatasetInfo(builder=self, disable_shuffling=True, features=tfds.features.FeaturesDict({
                image_key: tfds.features.Image(), mask_key: tfds.features.Image(shape=(None, None, 1)),
                'file_name': tfds.features.Text()}))

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(count) for split, count in splits.items()}

        def _generate_examples(self, count):
            for i in range(count):
                yield i, {image_key: str(folder / 'raw' / f'{i}.png'), mask_key: str(folder / 'raw' / 'mask.png'),
                          'file_name': f'{i}.png'}

    builder = Builder(data_dir=folder, file_format='array_record')
    builder.download_and_prepare()
    return str(folder / dataset / '1.0.0')


def test_pet_is_read_with_its_mapping(tmp_path):
    directory = prepare(tmp_path, 'oxford_iiit_pet', {'train': 10, 'test': 2}, 'image', 'segmentation_mask', PET)
    data = Tfds(directory, mapping='oxford_iiit_pet')
    assert [len(data.source(split)) for split in ('train', 'val', 'test')] == [9, 1, 2]
    sample = data.source('val')[0]
    assert sample['name'] == '9' and (sample['image'] == 9).all()
    np.testing.assert_array_equal(sample['mask'], np.select([PET == 1, PET == 2], [1, 0], 255))


def test_cityscapes_keeps_its_19_classes_and_voids_the_rest(tmp_path):
    directory = prepare(tmp_path, 'cityscapes', {'train': 2, 'validation': 1, 'test': 1}, 'image_left', 'segmentation_label', CITY)
    data = Tfds(directory, mapping='cityscapes')
    mask = data.source('val')[0]['mask'][0]
    named = {data.spec.classes[label]: raw for raw, label in enumerate(mask) if label != 255}
    assert len(named) == 19
    assert (named['road'], named['person'], named['train'], named['bicycle']) == (7, 24, 31, 33)
    assert mask[[0, 9, 18, 29, 30]].tolist() == [255] * 5


def test_a_source_of_records_can_be_sent_to_another_process(tmp_path):
    directory = prepare(tmp_path, 'toys', {'train': 3}, 'image', 'mask', np.array([[0, 1]], np.uint8))
    source = Tfds(directory, classes=('a', 'b')).source('train')
    again = pickle.loads(pickle.dumps(source))
    assert len(again) == 3
    np.testing.assert_array_equal(again[1]['image'], source[1]['image'])
    assert again[0]['mask'].tolist() == [[0, 1]]


def test_what_is_wrong_with_a_prepared_data_set_is_named(tmp_path):
    directory = prepare(tmp_path, 'toys', {'train': 1}, 'picture', 'mask', np.array([[0, 7]], np.uint8))
    with pytest.raises(InputError, match='holds no prepared data set'):
        Tfds(str(tmp_path), classes=('a',)).source('train')
    with pytest.raises(InputError, match="no feature 'image'; known: .*picture"):
        Tfds(directory, classes=('a', 'b')).source('train')
    with pytest.raises(InputError, match="no split 'test'; known: train"):
        Tfds(directory, classes=('a', 'b'), image_key='picture').source('test')
    with pytest.raises(InputError, match="data.mapping: 'pets' is unknown; known: .*oxford_iiit_pet"):
        Tfds(directory, mapping='pets').source('train')
    with pytest.raises(InputError, match=r'label 7 \(1 px\) outside the 2 classes'):
        Tfds(directory, classes=('a', 'b'), image_key='picture').source('train')[0]


def test_a_split_that_is_no_expression_is_named_with_its_remedy(tmp_path):
    directory = prepare(tmp_path, 'toys', {'train': 3}, 'image', 'mask', np.array([[0, 1]], np.uint8))
    for split, words in (('nope', "Unknown split 'nope'"), ('train[:200%]', 'Error parsing split')):
        with pytest.raises(InputError, match=f'{words}.*; correct the expression in data.splits') as error:
            Tfds(directory, classes=('a', 'b'), splits={'train': split}).source('train')
        assert 'array_record' not in str(error.value)
    with pytest.raises(InputError, match="no split 'val'; known: train; give an expression of TFDS in data.splits"):
        Tfds(directory, classes=('a', 'b')).source('val')


def test_a_damaged_description_of_a_prepared_data_set_is_named(tmp_path):
    for text in ('{}', '['):
        (tmp_path / 'dataset_info.json').write_text(text)
        with pytest.raises(InputError, match='dataset_info.json: .*; the file is damaged, prepare the data set again'):
            Tfds(str(tmp_path), mapping='camvid').source('train')


def test_0_and_255_in_records_are_refused_where_nobody_says_what_255_is(tmp_path):
    directory = prepare(tmp_path, 'toys', {'train': 1}, 'image', 'mask', np.array([[0, 255]], np.uint8))
    with pytest.raises(InputError, match='holds only 0 and 255.*data.label_map={0: 0, 255: 1} with tfds.Tfds'):
        Tfds(directory, classes=('a', 'b')).source('train')[0]
    assert Tfds(directory, classes=('a', 'b'), label_map={0: 0, 255: 1}).source('train')[0]['mask'].tolist() == [[0, 1]]
    assert Tfds(directory, classes=('a', 'b'), ignore_index=255).source('train')[0]['mask'].tolist() == [[0, 255]]
    with pytest.raises(InputError, match="data.label_map: expected .*{'a': 1}"):
        Tfds(directory, classes=('a', 'b'), label_map={'a': 1}).source('train')


def fake_camvid(folder: pathlib.Path):
    for split in ('train', 'val', 'test'):
        for stem in ('b', 'a'):
            for part, value, suffix in (('images', np.full((6, 8, 3), 90, np.uint8), 'jpg'),
                                        ('masks', np.full((6, 8), 11 if stem == 'a' else 10, np.uint8), 'png')):
                path = folder / split / part / f'{stem}.{suffix}'
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(value).save(path)


def test_camvid_is_built_and_read_without_tensorflow(tmp_path):
    fake_camvid(tmp_path / 'manual')
    code = (f'import sys, tensorflow_datasets as tfds\n'
            f'from jaxseg.data.camvid import Camvid\n'
            f'from jaxseg.data.tfds import Tfds\n'
            f'builder = Camvid(data_dir={str(tmp_path)!r}, file_format="array_record")\n'
            f'builder.download_and_prepare(download_config=tfds.download.DownloadConfig(manual_dir={str(tmp_path / "manual")!r}))\n'
            f'source = Tfds({str(tmp_path / "camvid" / "1.0.0")!r}, mapping="camvid").source("val")\n'
            f'assert [source[i]["name"] for i in range(2)] == ["a", "b"]\n'
            f'assert [int(source[i]["mask"].max()) for i in range(2)] == [255, 10]\n'
            f'assert "tensorflow" not in sys.modules\n')
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]


def test_camvid_names_an_image_without_a_mask(tmp_path):
    fake_camvid(tmp_path)
    (tmp_path / 'train' / 'masks' / 'b.png').unlink()
    with pytest.raises(InputError, match='b.jpg: no mask'):
        list(Camvid._generate_examples(None, tmp_path / 'train'))


def test_mappings_name_a_colour_for_each_class_and_only_classes():
    for known in KNOWN.values():
        assert len(known.classes) == len(known.colors) == len(set(known.colors))
        assert set(known.label_map.values()) == set(range(len(known.classes)))


def test_shapes_depend_on_seed_split_and_index_only():
    first, again = Shapes(seed=3).source('train'), Shapes(seed=3).source('train')
    for key in ('image', 'mask'):
        np.testing.assert_array_equal(first[7][key], again[7][key])
    others = [Shapes(seed=4).source('train')[7], Shapes(seed=3).source('val')[7], first[8]]
    assert all((other['image'] != first[7]['image']).any() for other in others)
    with pytest.raises(IndexError):
        first[len(first)]


def test_shapes_come_in_any_size_with_every_class():
    source = Shapes(size=(50, 70), samples={'train': 60}).source('train')
    assert source[0]['image'].shape == (50, 70, 3) and source[0]['mask'].shape == (50, 70)
    counts = sum(np.bincount(source[i]['mask'].ravel(), minlength=len(CLASSES)) for i in range(60))
    assert (counts > 0.02 * counts.sum()).all()
    with pytest.raises(InputError, match="no split 'dev'; known: train"):
        Shapes(samples={'train': 60}).source('dev')
    with pytest.raises(InputError, match='data.size'):
        Shapes(size=(8, 8)).source('train')


def test_colour_does_not_give_the_shape_away():
    """The mean colour of each class over many pictures is that of every other class."""
    source = Shapes(samples={'train': 200}).source('train')
    samples = [source[i] for i in range(200)]
    pixels, masks = (np.stack([sample[key] for sample in samples]) for key in ('image', 'mask'))
    means = np.stack([pixels[masks == label].mean(0) for label in range(1, len(CLASSES))])
    assert np.ptp(means, axis=0).max() < 30
