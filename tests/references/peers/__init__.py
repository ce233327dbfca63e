"""Architectures of other libraries, one file a family with `ROWS = {name: parity.Row}`.

Only `make_parity.py` and tests marked `peers` build them; nothing here imports torch at import.
"""
