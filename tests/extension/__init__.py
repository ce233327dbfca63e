"""A user's own parts, one file each: what `type='tests.extension.FILE:SYMBOL'` in a config names.

tests/test_extending.py trains with all of them. Copy a file into your own package, and name it so.
"""
