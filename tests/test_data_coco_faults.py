"""COCO's JSON files with every fault."""

import pytest

from jaxseg.data.coco import Coco
from jaxseg.errors import InputError
from tests.test_data_coco import document, image, save


def entry(key, **changes):
    """A document with one more image, annotation or category that differs from the first."""
    values = document()
    return {**values, key: [*values[key], {**values[key][0], **changes}]}


@pytest.mark.parametrize('values, said', [
    ({}, "holds no list 'images'"), ({'images': [], 'annotations': {}}, "no list 'annotations'"),
    (document(categories=3), "no list 'categories'"),
    (entry('annotations', id=7, category_id=2), 'unknown category_id: id 7 (2)'),
    (entry('annotations', id=7, category_id=None), 'unknown category_id: id 7 (None)'),
    (entry('annotations', id=7, category_id=[1]), 'unknown category_id'),
    (entry('annotations', id=7, image_id=99), 'image_id that no image has: id 7'),
    (entry('annotations', id=7, segmentation=[]), 'a bounding box alone states no pixels): id 7'),
    (entry('annotations', id=7, segmentation=None), 'bounding box alone'),
    (entry('annotations', id=7, segmentation=[1, 2, 3, 4, 5, 6]), 'no list of lists'),
    (entry('annotations', id=7, segmentation=[[1, 2, 3, 4, 5, 6, 7]]), 'pairs of finite numbers'),
    (entry('annotations', id=7, segmentation=[[1, 2, 3, 4, 5, float('nan')]]), 'finite numbers'),
    (entry('annotations', id=7, segmentation=[[1, 2, 3, 4, 5, 1e9]]), 'finite numbers'),
    (entry('annotations', id=7, segmentation=[['a', 2, 3, 4, 5, 6]]), 'no list of coordinates'),
    (entry('annotations', id=7, segmentation=[[[1, 2], [3, 4, 5]]]), 'no list of coordinates'),
    (entry('annotations', id=7, segmentation={'counts': [1]}), 'no [height, width]'),
    (entry('annotations', id=7, segmentation={'size': [5, 8], 'counts': [3, 4]}),
     'run lengths of 7 pixels for a size of 5x8'),
    (entry('annotations', id=7, segmentation={'size': [8, 5], 'counts': [3, 37]}),
     'of another size than the image'),
    (entry('annotations', id=7, segmentation={'size': [5, 8], 'counts': '~'}), 'damaged'),
    (entry('annotations', id=7, segmentation={'size': [5, 8], 'counts': [1.5, 38.5]}),
     'neither a text nor integers'),
    (document(annotations=['x']), 'number 0'),
    (entry('images', id=10), 'image ids are used twice: 10'),
    (entry('images', id=11), 'file names are used twice: a.png'),
    (entry('images', id=11, file_name='a.jpg'), 'names without suffix are used twice: a;'),
    (entry('images', id=11, file_name=''), 'no id or no file_name: number 1'),
    (entry('images', id=11, file_name=None), 'no id or no file_name: number 1'),
    (entry('images', id=[1]), 'no id or no file_name: number 1'),
    (entry('images', id=11, file_name='../../b.png'), 'lead out of the folder: ../../b.png'),
    (entry('images', id=11, file_name='b.png', width=0), 'no number of pixels: b.png'),
    (entry('images', id=11, file_name='b.png', height='5'), 'no number of pixels: b.png'),
    (entry('images', id=11, file_name='b.png'), '1 images of train.json are not in'),
    (entry('categories', id=3), 'category ids are used twice: 3'),
    (entry('categories', id=4, name=3), 'categories have no id or no name: number 2'),
    (document(images=[], annotations=[]), 'empty'),
])
def test_faults_of_a_file_are_refused_in_one_line(tmp_path, values, said):
    image(tmp_path, 'images/a.png')
    save(tmp_path / 'train.json', values)
    with pytest.raises(InputError) as error:
        Coco(str(tmp_path), classes=('background', 'cat')).source('train')
    assert said in str(error.value) and str(tmp_path) in str(error.value)
    assert '\n' not in str(error.value)


def test_all_faults_of_a_file_are_listed_by_kind(tmp_path):
    image(tmp_path, 'images/a.png')
    values = document(('a.png', 'lost.png'))
    values['annotations'] += [{**values['annotations'][0], 'id': i, 'category_id': 50}
                              for i in range(7)]
    values['annotations'] += [{**values['annotations'][0], 'image_id': 0}]
    save(tmp_path / 'train.json', values)
    data = Coco(str(tmp_path))
    found = data.problems('train')
    assert len(found) == 3
    assert '7 annotations have an unknown category_id: id 0 (50), ' in found[0]
    assert 'id 4 (50), ...; add the category' in found[0] and 'lost.png' in found[2]
    assert data.paired('train').names == ('a',)


@pytest.mark.parametrize('text', [b'', b'{', b'[]', b'null', b'\xff\xfe', b'[' * 100000])
def test_files_that_are_no_json_are_refused(tmp_path, text):
    (tmp_path / 'train.json').write_bytes(text)
    with pytest.raises(InputError, match='train.json: .*fix or restore the file'):
        Coco(str(tmp_path)).source('train')


@pytest.mark.parametrize('fields, said', [
    ({'annotations': 'none.json'}, 'none.json: no such file; correct data.annotations'),
    ({'annotations': {'train': 'a\0b'}}, 'no such file'),
    ({'annotations': {}}, 'no COCO file'), ({'naming': {'images': '..'}}, 'data.naming.images'),
    ({'naming': {'masks': 'x'}}, 'data.naming: masks unknown'),
    ({'naming': {'group': 'a'}}, 'data.naming.group'),
    ({'naming': {'images': 'none'}}, 'images of train.json are not in')])
def test_options_that_cannot_be_are_refused(tmp_path, fields, said):
    image(tmp_path, 'images/a.png')
    save(tmp_path / 'train.json', document())
    with pytest.raises(InputError) as error:
        Coco(str(tmp_path), **fields).source('train')
    assert said in str(error.value)


def test_a_folder_without_json_files_and_an_unknown_split_are_refused(tmp_path):
    with pytest.raises(InputError, match='no COCO file annotations/instances_SPLIT.json'):
        Coco(str(tmp_path)).source('train')
    save(tmp_path / 'train.json', document())
    with pytest.raises(InputError, match="no split 'test'; known: train"):
        Coco(str(tmp_path)).source('test')
