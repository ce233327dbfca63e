"""glibc malloc tuning that avoids page faults on CPU."""

import ctypes

# The options of glibc's mallopt, from its malloc.h.
TRIM_THRESHOLD, MMAP_MAX, ARENA_MAX = -1, -4, -8


def tune_malloc():
    """Makes glibc keep freed memory instead of returning it to the system; no effect elsewhere.

    XLA on CPU allocates the temporaries of every call in one block and frees them after it. glibc
    maps a block above 32 MiB again each time, and the system clears it page by page: four minGRUs
    over 90x120 positions, forward and backward, took 116 ms on 2 cores with 55,000 page faults a
    call, and take 50 ms without. Call it before JAX starts its threads: in a notebook, in the first
    cell. The command line calls it.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc
        return
    # One arena, as those of other threads cannot hold large blocks; no block mapped apart; nothing
    # returned to the system.
    for option, value in ((ARENA_MAX, 1), (MMAP_MAX, 0), (TRIM_THRESHOLD, -1)):
        mallopt(option, value)
