"""Swin Transformers of timm and transformers."""

import re
from typing import Any

from tests.references.parity import Row

# Checkpoints have names that the package changes when it reads them, and back when it writes.
SAVED = (('attention.q_proj', 'attention.self.query'), ('attention.k_proj', 'attention.self.key'),
         ('attention.v_proj', 'attention.self.value'),
         ('attention.relative_position_bias.', 'attention.self.'),
         ('attention.o_proj', 'attention.output.dense'), ('mlp.fc1', 'intermediate.dense'),
         ('mlp.fc2', 'output.dense'), (r'^swin\.(encoder|embeddings)', r'\1'))


def _timm():
    import timm

    module = timm.create_model('swin_tiny_patch4_window7_224', window_size=2, img_size=(64, 128),
                               always_partition=True)
    return module, lambda module, images: module.forward_intermediates(
        images, intermediates_only=True)


def _transformers():
    import transformers

    config = transformers.SwinConfig(out_features=['stage1', 'stage2', 'stage3', 'stage4'])
    module = transformers.SwinBackbone(config)
    _rename(module)
    return module, lambda module, images: module(images).feature_maps


def _rename(module: Any):
    """Tensors of a checkpoint go in and out by the names in it."""
    own, load = module.state_dict, module.load_state_dict
    names = {}
    for name in own():
        saved = name
        for inside, outside in SAVED:
            saved = re.sub(inside, outside, saved)
        names[saved] = name
    module.state_dict = lambda: {saved: own()[name] for saved, name in names.items()}
    module.load_state_dict = lambda tensors: load(
        {names[saved]: tensor for saved, tensor in tensors.items()})


ROWS = {
    'timm_swin_tiny': Row(
        'encoder', dict(type='swin.Swin', window=2), 'timm_swin.Swin', 'timm', _timm,
        size=(64, 128)),
    'transformers_swin_tiny': Row(
        'encoder', dict(type='swin.Swin', output_norm=True), 'transformers_swin.Swin',
        'transformers', _transformers),
}
