"""Memory that stays with the process: on CPU, getting it back from the system may otherwise take half of the time."""

import ctypes

# The options of glibc's mallopt, from its malloc.h.
TRIM_THRESHOLD, MMAP_MAX, ARENA_MAX = -1, -4, -8


def keep_memory():
    """Tells glibc to keep what is freed instead of giving it back to the system; elsewhere it does nothing.

    XLA on CPU takes the temporaries of every call in one piece and frees them after it. glibc maps a piece above 32 MiB
    anew each time, and the system clears it page by page: four minGRUs over 90x120 positions, forward and backward, took
    116 ms on 2 cores with 55,000 page faults a call, and take 50 ms without. It must be called before JAX starts its threads.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc
        return
    # One arena, as those of other threads hold no large pieces; no maps of their own; nothing is handed back.
    for option, value in ((ARENA_MAX, 1), (MMAP_MAX, 0), (TRIM_THRESHOLD, -1)):
        mallopt(option, value)
