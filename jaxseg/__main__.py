"""`python -m jaxseg SUBCOMMAND ...` is `jaxseg SUBCOMMAND ...`."""

import sys

from jaxseg.commands import program

if __name__ == '__main__':
    sys.exit(program())
