"""What other libraries state of their weights in files beside them."""

import contextlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

from jaxseg.errors import InputError
from jaxseg.pretrained import hub

Size = tuple[int, int]


def stated_size(path: str) -> Size | None:
    """Height and width of the images that weights were trained with; None where no file says so.

    transformers writes preprocessor_config.json, of which a crop counts before the size it is cut
    from, and config.json; timm writes config.json.

    Args:
      path: of the weights, or their address on the Hub.
    """
    preprocessor, model = (_read(path, name)
                           for name in ('preprocessor_config.json', 'config.json'))
    timm = model.get('pretrained_cfg')
    stated = [preprocessor.get('crop_size'), preprocessor.get('size'), model.get('image_size'),
              timm.get('input_size') if isinstance(timm, Mapping) else None]
    return next(filter(None, map(_size, stated)), None)


def _size(value: Any) -> Size | None:
    """From a number, [height, width], [channels, height, width], or a mapping with such keys."""
    if isinstance(value, Mapping):
        edge = value.get('shortest_edge')
        value = [value.get('height', edge), value.get('width', edge)]
    sides = value[-2:] if isinstance(value, list) else [value, value]
    valid = len(sides) == 2 and all(type(side) is int and side > 0 for side in sides)
    return tuple(sides) if valid else None


def _read(path: str, name: str) -> Mapping[str, Any]:
    """The object in a file beside the weights; an empty one without such a file."""
    address = hub.parse(path)
    with contextlib.suppress(InputError, OSError, ValueError):
        if address is None:
            file = pathlib.Path(path).with_name(name)
        else:
            inside = pathlib.PurePosixPath(address.file).with_name(name)
            file, _ = hub.download(address._replace(file=str(inside)))
        found = json.loads(file.read_text(encoding='utf-8'))
        return found if isinstance(found, Mapping) else {}
    return {}
