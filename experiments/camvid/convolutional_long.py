"""`convolutional.py` with 2800 steps at full size.

    jaxseg train --config=experiments/camvid/convolutional_long.py --workdir=runs/camvid_long \\
        --config.data.root=../shared/data/camvid \\
        --config.pretrained.path=runs/camvid_half.safetensors
    jaxseg evaluate --workdir=runs/camvid_long --split=test
    jaxseg evaluate --workdir=runs/camvid_long --split=test --match=Seq05VD
"""

from ml_collections import ConfigDict

from experiments.camvid import convolutional


def get_config() -> ConfigDict:
    """The convolutional experiment, longer."""
    config = convolutional.get_config()
    config.steps = 2800
    config.evaluate_every = 700
    return config
