"""Outputs of other libraries on weights that their names and shapes determine.

The repository holds, for every architecture, the names and shapes of the reference's tensors and a
sample of its outputs (`parity/NAME.json`, written by `make_parity.py`). The weights themselves are
drawn from name and shape, by numpy alone, so that a test builds the checkpoint that the reference
had.
"""

import json
import pathlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

FOLDER = pathlib.Path(__file__).parent / 'parity'
NAMES = sorted(path.stem for path in FOLDER.glob('*.json'))
TOLERANCE = 1e-4  # of the largest value of an output
SAMPLED, PROJECTIONS = 64, 4
SCALES = ('weight', 'gamma', 'scale', 'lambda1', 'lambda2', 'lambda_1', 'lambda_2', 'running_var')


class Row(NamedTuple):
    """An architecture of another library and the same of ours.

    Args:
      part: 'encoder', whose stages are compared, or 'model', whose logits are.
      config: our part, as in a config.
      source: the table of names, a type of `pretrained`.
      library: the package, whose version is recorded, or the repository with its commit.
      build: () -> (module of torch in evaluation mode, function (module, images (B, C, H, W)) ->
        outputs (B, C', H', W') in our order). It imports what it needs.
      size: height and width of the images; no multiple of the stride where the reference allows it.
      channels: of the images.
      classes: of a model.
    """

    part: str
    config: Mapping[str, Any]
    source: str
    library: str
    build: Callable[[], tuple[Any, Callable]]
    size: tuple[int, int] = (75, 101)
    channels: int = 3
    classes: int | None = None


def draw(name: str, shape: Sequence[int], dtype: str = 'float32') -> np.ndarray:
    """The tensor of this name and shape: scales around 1, all else around 0; integers are 0."""
    if not dtype.startswith('float'):
        return np.zeros(shape, dtype)
    rng = np.random.default_rng(zlib.crc32(f'{name} {tuple(shape)}'.encode()))
    if len(shape) <= 1:
        scale = name.rsplit('.', 1)[-1] in SCALES
        values = rng.uniform(0.5, 1.5, shape) if scale else 0.1 * rng.normal(size=shape)
    elif shape[0] == 1:  # tokens, positions
        values = 0.5 * rng.normal(size=shape)
    else:
        values = rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
    return values.astype(dtype)


def images(record: Mapping[str, Any]) -> np.ndarray:
    """(1, H, W, C) float32."""
    shape = (1, *record['size'], record['channels'])
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def sample(output: np.ndarray) -> dict[str, Any]:
    """Of an output (B, H, W, C): shape, largest value, some values, and projections of all."""
    flat, rng = np.asarray(output, np.float64).ravel(), np.random.default_rng(1)
    places = rng.choice(flat.size, min(SAMPLED, flat.size), replace=False)
    signs = rng.choice([-1.0, 1.0], (PROJECTIONS, flat.size))
    return {'shape': list(output.shape), 'largest': _short(np.abs(flat).max()),
            'values': [_short(value) for value in flat[places]],
            'projections': [_short(value) for value in signs @ flat / np.sqrt(flat.size)]}


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """What two samples of one output do not agree in."""
    if found['shape'] != wanted['shape']:
        return [f'shape {found["shape"]}, not {wanted["shape"]}']
    wrong = []
    for key in ('values', 'projections'):
        distance = np.abs(np.subtract(found[key], wanted[key])).max() / wanted['largest']
        if not distance < TOLERANCE:
            wrong.append(f'{key}: {distance:.1e} of the largest value apart')
    return wrong


def load(name: str) -> dict[str, Any]:
    """The record of an architecture."""
    return json.loads((FOLDER / f'{name}.json').read_text())


def save(name: str, record: Mapping[str, Any]):
    """Writes a record, one tensor a line."""
    tensors = ',\n'.join(f'  {json.dumps(tensor)}: {json.dumps(shape)}'
                         for tensor, shape in record['tensors'].items())
    rest = ''.join(f' {json.dumps(key)}: {json.dumps(value)},\n'
                   for key, value in record.items() if key != 'tensors')
    (FOLDER / f'{name}.json').write_text(f'{{\n{rest} "tensors": {{\n{tensors}\n }}\n}}\n')


def tensors_of(record: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The checkpoint: shapes are lists, with a dtype as their last entry where it is no float32."""
    return {name: draw(name, *_shape_and_dtype(shape)) for name, shape in record['tensors'].items()}


def _shape_and_dtype(shape: Sequence[Any]) -> tuple[Sequence[int], str]:
    return (shape[:-1], shape[-1]) if shape and isinstance(shape[-1], str) else (shape, 'float32')


def _short(value: float) -> float:
    return float(f'{value:.7g}')
