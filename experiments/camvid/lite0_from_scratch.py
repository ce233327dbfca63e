"""`finetune_lite0.py` from random weights, in the same steps.

    jaxseg train --config=experiments/camvid/lite0_from_scratch.py --workdir=runs/camvid_scratch \\
        --config.data.root=../shared/data/camvid
    jaxseg evaluate --workdir=runs/camvid_scratch --split=test
    jaxseg evaluate --workdir=runs/camvid_scratch --split=test --match=Seq05VD
"""

from ml_collections import ConfigDict

from experiments.camvid import finetune_lite0


def get_config() -> ConfigDict:
    """The fine-tuning experiment without its weights."""
    config = finetune_lite0.get_config()
    config.pretrained = None
    return config
