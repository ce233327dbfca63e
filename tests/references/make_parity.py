"""Writes `parity/NAME.json`: what the architectures of other libraries compute.

    python -m tests.references.make_parity [NAME ...]

Needs torch, torchvision, timm, segmentation_models_pytorch and transformers, the last four
installed with `--no-deps`; no weights are downloaded.
"""

import importlib
import importlib.metadata
import pkgutil
import sys
from typing import Any

import numpy as np

from tests.references import parity, peers

ROWS = {name: row for module in pkgutil.iter_modules(peers.__path__)
        for name, row in importlib.import_module(f'{peers.__name__}.{module.name}').ROWS.items()}


def make(row: parity.Row) -> dict[str, Any]:
    """The record of an architecture."""
    import torch

    torch.library.register_fake = lambda *_: lambda function: function  # libraries without CUDA
    module, forward = row.build()
    tensors = {name: list(tensor.shape) + ([] if tensor.dtype == torch.float32
                                           else [str(tensor.dtype).removeprefix('torch.')])
               for name, tensor in module.state_dict().items()}
    version = '' if '/' in row.library else f' {importlib.metadata.version(row.library)}'
    record = {'library': row.library + version,
              'part': row.part, 'config': row.config, 'source': row.source,
              'size': list(row.size), 'channels': row.channels, 'classes': row.classes,
              'tensors': tensors}
    drawn = {name: torch.from_numpy(np.array(tensor))
             for name, tensor in parity.tensors_of(record).items()}
    kept = {name: tensor for name, tensor in module.state_dict().items()
            if tensor.dtype != torch.float32}  # indices, which the reference computes itself
    module.load_state_dict(drawn | kept)
    module.eval()
    with torch.no_grad():
        outputs = forward(module, torch.from_numpy(parity.images(record).transpose(0, 3, 1, 2)))
    samples = [parity.sample(output.numpy().transpose(0, 2, 3, 1)) for output in outputs]
    return record | {'outputs': samples, 'tensors': record['tensors']}


def main(names: list[str]):
    for name in names or ROWS:
        parity.save(name, make(ROWS[name]))
        print(name, flush=True)


if __name__ == '__main__':
    main(sys.argv[1:])
