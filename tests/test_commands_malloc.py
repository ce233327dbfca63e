"""glibc malloc tuning: large arrays cost page faults once, not at every call."""

import platform
import subprocess
import sys

import pytest

CODE = '''
import resource
from jaxseg.commands.malloc import tune_malloc
tune_malloc()
import jax, jax.numpy as jnp

# A temporary of 64 MiB, 16,384 pages.
step = jax.jit(lambda x: (jnp.sin(x[:, None] + x[None]) @ jnp.ones((4096, 8))).sum())
x = jnp.arange(4096.0)
counts = [0]
for _ in range(12):
    step(x).block_until_ready()
    counts.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print(min(later - earlier for earlier, later in zip(counts[2:], counts[3:])))
'''


@pytest.mark.trials
@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='mallopt is a function of glibc')
def test_a_call_with_large_temporaries_gets_no_new_pages():
    def faults(code):
        result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True,
                                check=True)
        return float(result.stdout)

    # The heap grows in the first calls: the best of them counts.
    assert faults(CODE) < 1000 < 16_000 < faults(CODE.replace('tune_malloc()', ''))
