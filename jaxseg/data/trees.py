"""Data sets that are recognised by the names of their folders, or by the keys of their JSON."""

import contextlib
import dataclasses
import itertools
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxseg.data.cityscapes import Cityscapes
from jaxseg.data.class_names import find_names
from jaxseg.data.coco import Coco, find_annotations
from jaxseg.data.file_dataset import FileDataset
from jaxseg.data.folder_source import FolderSource
from jaxseg.data.labelme import LabelMe
from jaxseg.data.listing import list_folders, list_images
from jaxseg.data.mask_survey import Finding, Findings, name_classes, survey_masks
from jaxseg.data.object_masks import ObjectMasks
from jaxseg.data.recognition import MASK_WORDS, two_folders
from jaxseg.data.split_choice import Proposal, choose_fold, choose_splits
from jaxseg.data.voc import Voc
from jaxseg.errors import InputError
from jaxseg.records import read_json

# Folders, or JSON files of a folder, of which some must be of a kind for all to be.
PROBED = 5
# Samples whose masks are read to choose a split that shows all classes.
READ = 500
DATASETS: dict[str, type[FileDataset]] = {
    'voc.Voc': Voc, 'cityscapes.Cityscapes': Cityscapes, 'object_masks.ObjectMasks': ObjectMasks,
    'coco.Coco': Coco, 'labelme.LabelMe': LabelMe}


class Tree(NamedTuple):
    """A data set that was recognised.

    Attributes:
      kind: its `type` in a config.
      root: its folder.
      reason: what it was recognised by.
      fields: what its type needs besides.
      images: its image files.
    """

    kind: str
    root: pathlib.Path
    reason: str
    fields: Findings
    images: list[pathlib.Path]


def find_tree(root: pathlib.Path, kind: str | None = None) -> Tree | None:
    """The data set in a folder, or in the only folder inside it.

    Args:
      kind: the only type that is tried; by default all of `DATASETS`.

    Raises:
      InputError: two annotation files are of one split.
    """
    place = root
    while True:
        for name in [kind] if kind else FINDERS:
            found = FINDERS[name](place)
            if found:
                return found
        inner = list_folders(place)
        if len(inner) != 1 or list_images(place)[0]:
            return None
        place /= inner[0]  # what unpacking an archive leaves


def split_tree(tree: Tree, fields: Mapping[str, Any]) -> Proposal:
    """Splits where the data set states none, and a fold where it states no validation.

    Args:
      fields: of the data set, all but its splits.

    Raises:
      InputError: the data set cannot be read, or holds fewer than two images.
    """
    kind = DATASETS[tree.kind]
    # The seed and the group are of the shares that are chosen here.
    fields = {key: value for key, value in fields.items() if key != 'split_seed'}
    naming = {key: value for key, value in fields.get('naming', {}).items() if key != 'group'}
    dataset = with_known(kind, {**fields, 'naming': naming})
    splits = dataset.stated_splits
    # A single JSON file of COCO is all there is, whatever its name.
    if 'train' not in splits or tree.kind == 'coco.Coco' and len(splits) == 1:
        whole = with_known(kind, {**fields, 'splits': {'train': 1.0}})
        return choose_splits(_contents(whole.paired('train')))
    if 'val' in splits:
        return Proposal({}, {})
    return Proposal({}, choose_fold(_contents(dataset.paired('train'))))


def with_known(kind: type[FileDataset], fields: Mapping[str, Any]) -> FileDataset:
    """A data set of those fields that it has; the others are reported where it is built."""
    known = {field.name for field in dataclasses.fields(kind)}
    return kind(**{key: value for key, value in fields.items() if key in known})


def _contents(source: FolderSource) -> dict[str, tuple]:
    """The values in the mask of every sample, by its name; of many samples they are not read."""
    contents = dict.fromkeys(source.names, ())
    for index in range(len(source) if len(source) <= READ else 0):
        with contextlib.suppress(InputError):  # Reported where the sample is used.
            sample = source[index]
            contents[sample['name']] = tuple(np.unique(sample['mask']).tolist())
    return contents


def _voc(root: pathlib.Path) -> Tree | None:
    folders = [root / name for name in ('JPEGImages', 'SegmentationClass')]
    lists = root / 'ImageSets' / 'Segmentation'
    if not all(folder.is_dir() for folder in (*folders, lists)) or not any(lists.glob('*.txt')):
        return None
    fields, names = {}, find_names(root)
    if names and not (root / 'dataset.json').is_file():
        fields = name_classes(survey_masks(list_images(folders[1])[0]), names)
    return Tree('voc.Voc', root, 'JPEGImages/, SegmentationClass/ and ImageSets/Segmentation/',
                fields, list_images(folders[0])[0])


def _cityscapes(root: pathlib.Path) -> Tree | None:
    if not all((root / name).is_dir() for name in ('leftImg8bit', 'gtFine')):
        return None
    fields = {}
    if any(root.glob('gtFine/*/*/*_gtFine_labelTrainIds.png')):
        fields['ids'] = Finding('labelTrainIds', 'masks *_labelTrainIds.png are there')
    return Tree('cityscapes.Cityscapes', root, 'leftImg8bit/ and gtFine/', fields, [])


def _object_masks(root: pathlib.Path) -> Tree | None:
    splits = [name for name in list_folders(root) if name in ('train', 'val', 'test')]
    samples = [folder for place in ([root / name for name in splits] or [root])
               for folder in map(place.joinpath, list_folders(place)[:PROBED])]
    if samples and all(_is_sample(folder) for folder in samples):
        images = [path for folder in (root.glob('*/*/images') if splits else root.glob('*/images'))
                  for path in list_images(folder)[0]]
        return Tree('object_masks.ObjectMasks', root,
                    'a folder for each image, with one mask file an object', {}, sorted(images))
    for place in [root / name for name in splits] or [root]:
        names = two_folders(place)
        images = list_images(place / names[0])[0] if names else []
        stems = {path.stem for path in images}
        folders = list_folders(place / names[1]) if names else []
        if stems and folders and set(folders) <= stems:
            naming = {key: name for key, name in zip(('images', 'masks'), names, strict=True)
                      if name != key}
            fields = {'naming': Finding(naming, 'names of the folders')} if naming else {}
            return Tree('object_masks.ObjectMasks', root,
                        f'{names[1]}/ has a folder of mask files for each image', fields,
                        list_images(root, recursive=True)[0] if splits else images)
    return None


def _is_sample(folder: pathlib.Path) -> bool:
    place = folder / 'images'
    return (folder / 'masks').is_dir() and place.is_dir() and any(
        path.stem == folder.name for path in list_images(place)[0])


def _coco(root: pathlib.Path) -> Tree | None:
    found = find_annotations(root)
    files = {split: path for split, path in found.items()
             if _has_keys(root / path, 'images', 'annotations')}
    if not files:
        return None
    fields = {}
    if len(files) < len(found):
        fields['annotations'] = Finding({split: str(path) for split, path in files.items()},
                                        'the JSON files that are COCO')
    images = [path for path in list_images(root, recursive=True)[0]
              if not any(word in path.relative_to(root).parts[0].lower()
                         for word in MASK_WORDS[:3])]
    shown = ', '.join(map(str, files.values()))
    return Tree('coco.Coco', root, f'COCO annotations in {shown}', fields, images)


def _labelme(root: pathlib.Path) -> Tree | None:
    folders = ['.', *list_folders(root)]
    of_shapes = [name for name in folders if any(
        _has_keys(path, 'shapes') for path in itertools.islice(_json(root / name), PROBED))]
    if not of_shapes:
        return None
    fields: Findings = {}
    with_images = [name for name in folders if list_images(root / name)[0]]
    if not set(of_shapes) & set(with_images) and with_images:
        naming = {'images': with_images[0], 'masks': of_shapes[0]}
        fields['naming'] = Finding(naming, 'images and JSON files are in two folders')
    return Tree('labelme.LabelMe', root, 'JSON files of LabelMe', fields,
                list_images(root, recursive=True)[0])


def _json(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    return (path for path in sorted(folder.glob('*.json')) if not path.name.startswith('.'))


def _has_keys(path: pathlib.Path, *keys: str) -> bool:
    try:
        return set(keys) <= read_json(path).keys()
    except InputError:  # Reported where the file is used.
        return False


FINDERS: dict[str, Callable[[pathlib.Path], Tree | None]] = {
    'cityscapes.Cityscapes': _cityscapes, 'voc.Voc': _voc,
    'object_masks.ObjectMasks': _object_masks, 'coco.Coco': _coco, 'labelme.LabelMe': _labelme}
