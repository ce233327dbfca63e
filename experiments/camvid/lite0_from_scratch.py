"""`finetune_lite0.py` from random weights, in the same steps.

    jaxseg train --config=experiments/camvid/lite0_from_scratch.py --workdir=runs/camvid_scratch \\
        --config.data.root=../shared/data/camvid
    jaxseg evaluate --workdir=runs/camvid_scratch --split=test
    jaxseg evaluate --workdir=runs/camvid_scratch --split=test --match=Seq05VD

Test mIoU 0.467, Seq05VD 0.448 (2026-11-29, seed 0) after 33 minutes on two cores of an AMD EPYC,
beside other work.
"""

from ml_collections import ConfigDict

from experiments.camvid import finetune_lite0


def get_config() -> ConfigDict:
    """The fine-tuning experiment without its weights."""
    config = finetune_lite0.get_config()
    config.pretrained = None
    return config
