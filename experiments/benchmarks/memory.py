"""Peak resident memory of a whole training run, beside what the compiled step needs.

    python experiments/benchmarks/memory.py [--csv experiments/benchmarks/memory.csv]

Trains a ResNet-18 U-Net (14.33 M parameters) on synthetic images of 256x256 for a few steps and one
validation, each batch size in a process of its own as a user would start it, and reads the peak
that the system counted. Temporary memory is that of XLA's `memory_analysis` of the step.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from measure import machine, write  # noqa: E402

CONFIG = '''
"""ResNet-18 U-Net on synthetic images."""
from ml_collections import ConfigDict


def get_config():
    return ConfigDict(dict(
        steps=6, batch_size={batch_size}, evaluate_every=3, report_every=1,
        data=dict(type='synthetic.Shapes', size=[256, 256], samples=dict(train=32, val=16)),
        model=dict(type='segmentation_model.SegmentationModel',
                   encoder=dict(type='resnet.ResNet'), decoder=dict(type='unet.UNet')),
        losses=dict(cross_entropy=dict(type='cross_entropy.cross_entropy')),
        optimizer=dict(type='optimizer.adamw', learning_rate=1e-3),
        schedule=dict(type='schedule.constant')))
'''
# Runs the command line in this process and prints the peak that the system counted, in KiB.
RUN = '''
import json, resource, sys
from jaxseg.commands import main
status = main(['train', f'--config={sys.argv[1]}', f'--workdir={sys.argv[2]}'])
print(json.dumps([status, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
'''
COLUMNS = ('batch', 'height', 'width', 'peak_mib', 'step_temporary_mib', 'state_mib')


def measure(batch_size: int) -> dict:
    """One row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        config = pathlib.Path(folder) / 'config.py'
        config.write_text(CONFIG.format(batch_size=batch_size))
        result = subprocess.run([sys.executable, '-c', RUN, str(config), f'{folder}/run'],
                                text=True, capture_output=True, check=True,
                                env={**os.environ, 'JAX_NUM_CPU_DEVICES': '1'})
        status, peak = json.loads(result.stdout.splitlines()[-1])
        assert status == 0, result.stderr
    temporary, state = compiled(batch_size)
    return dict(zip(COLUMNS, (batch_size, 256, 256, round(peak / 1024), temporary, state),
                    strict=True))


def compiled(batch_size: int) -> tuple[int, int]:
    """MiB of temporaries of the step, and of the parameters with AdamW's two moments."""
    import numpy as np
    from step import UNET, jax_works

    images = np.zeros((batch_size, 256, 256, 3), np.float32)
    _, _, temporary = jax_works(UNET, images, np.zeros(images.shape[:3], np.int32))['train step']
    return round(temporary), round(3 * 14_329_659 * 4 / 2 ** 20)


def main():
    """Measures, prints, writes."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--csv', type=pathlib.Path)
    arguments, rows = parser.parse_args(), []
    print(machine(), flush=True)
    for batch_size in (4, 8):
        rows.append(measure(batch_size))
        print('  '.join(f'{name} {value}' for name, value in rows[-1].items()), flush=True)
    if arguments.csv:
        write(arguments.csv, rows, COLUMNS)


if __name__ == '__main__':
    main()
