"""Whether scikit-learn, an extra, is installed."""

import importlib.util

from jaxseg.errors import InputError


def check_installed(part: str):
    """Raises InputError, naming the part that needs it, if scikit-learn is not installed."""
    if importlib.util.find_spec('sklearn') is None:
        raise InputError(f"{part}: scikit-learn is not installed; "
                         f"pip install 'jaxseg[classical]'")
