"""What `predict` writes for an image: masks, colors, overlays, probabilities, polygons."""

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TextIO, get_args

import numpy as np
from PIL import Image

from jaxseg.commands.overrides import file_name
from jaxseg.data.outlines import geojson, objects, run_lengths
from jaxseg.data.spec import DatasetSpec
from jaxseg.data.visualize import class_indices, overlay, save_image, save_index_png
from jaxseg.errors import InputError
from jaxseg.fields import nearest
from jaxseg.files import replacing
from jaxseg.inference.uncertainty import Found
from jaxseg.records import read_json

Output = Literal['indices', 'colors', 'overlays', 'probabilities', 'uncertainty', 'polygons']
OUTPUTS = get_args(Output)
ProbabilityFormat = Literal['npy', 'png16']
COCO = 'coco.json'
WHITE = 65535  # of 16-bit images


def parse_outputs(text: str) -> tuple[str, ...]:
    """The kinds of results that `--outputs` names, in the order of `OUTPUTS`.

    Raises:
      InputError: none, or one that does not exist.
    """
    named = [name.strip() for name in text.split(',')]
    for name in named:
        if name not in OUTPUTS:
            raise InputError(f'--outputs={text}: {name!r} is no kind of result; '
                             f'{nearest(name, OUTPUTS)}')
    return tuple(name for name in OUTPUTS if name in named)


@dataclasses.dataclass(frozen=True)
class Results:
    """The files of an image, by its place in the output folder: its name without suffix.

    Args:
      spec: of the classes.
      outputs: kinds of `OUTPUTS`.
      probabilities: 'npy' writes one float32 array (H, W, classes), 'png16' a 16-bit image for each
        class, in which 65535 is 1.
      variance: whether the uncertainty is the variance over augmented copies; 65535 is then the
        largest possible one.
    """

    spec: DatasetSpec
    outputs: tuple[str, ...]
    probabilities: ProbabilityFormat = 'npy'
    variance: bool = False

    @property
    def needs_probabilities(self) -> bool:
        """Whether masks alone are not enough."""
        return not {'probabilities', 'uncertainty'}.isdisjoint(self.outputs)

    @property
    def settings(self) -> dict[str, Any]:
        """What the files depend on besides the predictions."""
        return {'outputs': self.outputs, 'probabilities': self.probabilities,
                'uncertainty': {'kind': 'variance' if self.variance else 'entropy',
                                'white': self.largest_uncertainty}}

    @property
    def largest_uncertainty(self) -> float:
        """What 65535 stands for: the variance of numbers between 0 and 1 is at most 1/4 a class.

        Probabilities that sum to 1 vary by less than 1 in all.
        """
        if not self.variance:
            return 1.0
        most = len(self.spec.classes) / 4
        return most if self.spec.overlapping else min(1.0, most)

    def files(self, place: pathlib.Path, without: Output | None = None) -> list[pathlib.Path]:
        """All files of an image, but for those of the kind `without`."""
        return [path for kind in self.outputs if kind != without
                for path in self._files(kind, place)]

    def shared_files(self, output: pathlib.Path) -> list[pathlib.Path]:
        """The files of all images together."""
        return [output / COCO] if 'polygons' in self.outputs else []

    def polygons(self, place: pathlib.Path) -> pathlib.Path:
        """The file of an image's polygons."""
        return self._files('polygons', place)[0]

    def write(self, place: pathlib.Path, name: str, image: np.ndarray, found: Found):
        """Writes the files of an image, each whole or not at all.

        Args:
          name: of the image, for its polygons.
        """
        place.parent.mkdir(parents=True, exist_ok=True)
        spec = self.spec
        for kind in self.outputs:
            paths = self._files(kind, place)
            if kind == 'indices':
                self._write_indices(paths, found.mask)
            elif kind == 'colors':
                save_image(paths[0], Image.fromarray(colors(found.mask, spec)))
            elif kind == 'overlays':
                save_image(paths[0], Image.fromarray(overlay(image, found.mask, spec)))
            elif kind == 'probabilities':
                self._write_probabilities(paths, found.probabilities)
            elif kind == 'uncertainty':
                _save_16_bit(paths[0], found.uncertainty / self.largest_uncertainty)
            else:
                shapes = geojson(objects(found.mask, spec), spec, name, image.shape[:2])
                with replacing(paths[0], durable=False) as partial:
                    partial.write_text(json.dumps(shapes) + '\n', encoding='utf-8')

    def _files(self, kind: str, place: pathlib.Path) -> list[pathlib.Path]:
        classes = [file_name(name) for name in self.spec.classes]
        endings = {'indices': ['.png'], 'colors': ['_colors.png'], 'overlays': ['_overlay.png'],
                   'probabilities': ['_probabilities.npy'], 'uncertainty': ['_uncertainty.png'],
                   'polygons': ['.geojson']}[kind]
        if kind == 'indices' and self.spec.overlapping:
            endings = [f'_{name}.png' for name in classes]
        if kind == 'probabilities' and self.probabilities == 'png16':
            endings = [f'_probability_{name}.png' for name in classes]
        return [place.with_name(f'{place.name}{ending}') for ending in endings]

    def _write_indices(self, paths: Sequence[pathlib.Path], mask: np.ndarray):
        if not self.spec.overlapping:
            save_index_png(paths[0], mask, self.spec)
            return
        for index, path in enumerate(paths):
            save_image(path, Image.fromarray(255 * mask[..., index]))

    def _write_probabilities(self, paths: Sequence[pathlib.Path], found: np.ndarray):
        if self.probabilities == 'png16':
            for index, path in enumerate(paths):
                _save_16_bit(path, found[..., index])
            return
        with replacing(paths[0], durable=False) as partial:
            np.save(partial, found, allow_pickle=False)


def colors(mask: np.ndarray, spec: DatasetSpec) -> np.ndarray:
    """The colors of the classes, (H, W, 3) uint8; black where there is none."""
    index = class_indices(mask, spec)
    known = index < len(spec.classes)
    palette = np.array(spec.colors, np.uint8)
    return np.where(known[..., None], palette[np.where(known, index, 0)], np.uint8(0))


def _save_16_bit(path: pathlib.Path, share: np.ndarray):
    """Writes numbers between 0 and 1 as a 16-bit grey image."""
    save_image(path, Image.fromarray(np.rint(WHITE * np.clip(share, 0, 1)).astype(np.uint16)))


def write_coco(output: pathlib.Path, files: Iterable[tuple[int, pathlib.Path]], spec: DatasetSpec):
    """Collects the polygons of all images in one file in the format of COCO, coco.json.

    Objects without holes are polygons, the others run lengths, for COCO's polygons have no holes.

    Args:
      files: number and .geojson file of every image.
    """
    images, count = [], 0
    with (replacing(output / COCO, durable=False) as partial,
          partial.open('w', encoding='utf-8', errors='backslashreplace') as file):
        _begin(file, spec)
        for number, path in files:
            shapes = read_json(path)
            images.append({'id': number, 'file_name': shapes['image'],
                           'height': shapes['height'], 'width': shapes['width']})
            for feature in shapes['features']:
                count += 1
                annotation = _annotation(feature, (shapes['height'], shapes['width']))
                comma = ',' if count > 1 else ''
                file.write(f'{comma}\n' + json.dumps({'id': count, 'image_id': number,
                                                      **annotation}))
        file.write(f'\n],\n"images": {json.dumps(images)}}}\n')


def _begin(file: TextIO, spec: DatasetSpec):
    categories = [{'id': index + 1, 'name': name} for index, name in enumerate(spec.classes)]
    file.write(f'{{"info": {{"description": "predictions of jaxseg"}},\n'
               f'"categories": {json.dumps(categories)},\n"annotations": [')


def _annotation(feature: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """What COCO states of a feature of GeoJSON."""
    geometry = feature['geometry']
    several = geometry['type'] == 'MultiPolygon'
    polygons = geometry['coordinates'] if several else [geometry['coordinates']]
    rings = [np.array(ring[:-1]) for polygon in polygons for ring in polygon]
    if any(len(polygon) > 1 for polygon in polygons):
        shape: Any = {'size': list(size), 'counts': run_lengths(rings, size)}
    else:
        shape = [ring.ravel().tolist() for ring in rings]
    corners = np.concatenate(rings)
    low, high = corners.min(0).tolist(), corners.max(0).tolist()
    return {'category_id': feature['properties']['index'] + 1, 'segmentation': shape,
            'area': feature['properties']['area'], 'iscrowd': 0,
            'bbox': [*low, high[0] - low[0], high[1] - low[1]]}
