"""jaxseg: image segmentation in JAX with convolutional, recurrent and attention models."""

import importlib

__version__ = '0.1.0'
__all__ = ['InputError', 'load', 'run']

_HOMES = {'InputError': 'jaxseg.errors', 'load': 'jaxseg.commands.workdir', 'run': 'jaxseg.commands.train'}


def __getattr__(name: str):
    """Imports the public names when they are first asked for: `import jaxseg` alone costs nothing."""
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(_HOMES[name]), name)
