"""ReNet context (Visin et al. 2015, arXiv:1505.00393) on synthetic shapes.

    jaxseg train --config=experiments/shapes/recurrent.py --workdir=runs/shapes_recurrent
    jaxseg evaluate --workdir=runs/shapes_recurrent --split=test

Between encoder and decoder, GRUs scan the rows of the coarsest feature map and then its columns, in
both directions, so that every position depends on the whole image.
Test mIoU 0.921 after 291 s on two slow cores of an AMD EPYC (2026-11-25, seed 0).
"""

from ml_collections import ConfigDict

from experiments.shapes import convolutional


def get_config() -> ConfigDict:
    """The convolutional experiment with another context."""
    config = convolutional.get_config()
    config.model.context = [dict(type='renet.ReNet', features=64, cell='gru')]
    return config
