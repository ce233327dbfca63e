"""Work directories and files from somebody else.

    python -m experiments.reliability.hostile [--short] [--table=experiments/results/hostile.md]

Parts: config.json names a part that is not one of jaxseg, or one in a wrong place, under every key,
sealed with a right digest; `evaluate`, `predict`, `train`, `inspect` and `jaxseg.load` must refuse
it in one line, import nothing (a module that leaves a file when it is imported shows it) and write
nothing. Files: contents that are no image, or too large, or another format under a false name, as
an image of `predict` and as image and mask of a training; pipes and devices as images and as files
of a work directory; names with escape sequences, line breaks, marks of right-to-left writing and
bytes that are no UTF-8. Each is refused in one line that names the file, or left out, within
`LIMIT` seconds and `MEMORY` bytes of address space, without a traceback, and no control character
reaches the terminal.
"""

import pathlib
import sys
import tempfile
from collections.abc import Iterator

from experiments.reliability.bad_inputs import train_tiny
from experiments.reliability.hostile_files import Files
from experiments.reliability.hostile_parts import Parts
from experiments.reliability.tiny_runs import quick
from experiments.reliability.trials import Trial, program


def trials(short: bool) -> Iterator[Trial]:
    """All of them; with `short` a few of each kind."""
    with tempfile.TemporaryDirectory() as place:
        root = pathlib.Path(place)
        trained, environment = train_tiny(root / 'run'), quick(root / 'cache')
        yield from Parts(root, trained, environment).trials(short=short)
        yield from Files(root, trained, environment).trials(short=short)


if __name__ == '__main__':
    sys.exit(program('Hostile work directories and files', 'experiments.reliability.hostile',
                     __doc__, trials))
