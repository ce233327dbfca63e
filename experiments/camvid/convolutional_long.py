"""`convolutional.py` with twelve times the steps at full size, for two and a half hours.

    jaxseg train --config=experiments/camvid/convolutional_long.py --workdir=runs/camvid_long \\
        --config.data.root=../shared/data/camvid \\
        --config.pretrained.path=runs/camvid_half.safetensors
    jaxseg evaluate --workdir=runs/camvid_long --split=test
    jaxseg evaluate --workdir=runs/camvid_long --split=test --match=Seq05VD

It begins with the same weights of half the size, whose commands are in `convolutional.py`; the
same command continues a run that was stopped. Images are scaled by 0.7 to 1.6 in place of 0.8 to
1.5, the rate is 3e-3 in place of 2e-3, and the weights decay twice as fast.

Test mIoU 0.640, Seq05VD 0.610, val 0.740 (seed 0, 2026-11-30; the checkpoint with the best val, of
step 8000). It took 115 minutes of two cores of an AMD EPYC (Zen 4) to step 9029, where it was
stopped for lack of time with the rate at 2 % of its peak (val of step 9000: 0.739); tests ran
beside it at times, and 28 minutes for which it was paused do not count. `half_size.py` took 12.
"""

from ml_collections import ConfigDict

from experiments.camvid import convolutional


def get_config() -> ConfigDict:
    """The convolutional experiment with more steps, wider scales and more weight decay."""
    config = convolutional.get_config()
    config.steps = 10000
    scale, *_ = config.transforms
    scale.update(low=0.7, high=1.6)
    config.algorithm.decay = 0.998
    config.optimizer.learning_rate = 3e-3
    config.optimizer.weight_decay = 0.1
    config.schedule.warmup = 200
    config.evaluate_every = 1000
    return config
