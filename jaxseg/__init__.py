"""jaxseg: image segmentation in JAX with convolutional, recurrent and attention models."""

import importlib

__version__ = '0.1.0'
__all__ = ['InputError', 'load', 'run', 'tune_malloc']

_MODULES = {'InputError': 'jaxseg.errors', 'load': 'jaxseg.commands.load',
            'run': 'jaxseg.commands.training', 'tune_malloc': 'jaxseg.commands.malloc'}


def __getattr__(name: str):
    """Imports the public names when they are first used: `import jaxseg` alone costs nothing."""
    if name not in _MODULES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(importlib.import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    """With the public names that were not used yet, which shells and notebooks complete."""
    return sorted({*globals(), *__all__})
