"""`python -m jaxseg VERB ...` is `jaxseg VERB ...`."""

import sys

from jaxseg.commands import main

if __name__ == '__main__':
    sys.exit(main())
