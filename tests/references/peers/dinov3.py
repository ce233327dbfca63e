"""DINOv3 of timm, transformers, and of its authors by way of timm's own conversion."""

from collections.abc import Callable
from typing import Any

from tests.references.parity import Row
from tests.references.saved_names import as_saved

NARROW = dict(embed_dim=96, depth=2, num_heads=3, num_classes=0)


def _timm(name: str, taps: list[int], **options: Any) -> Callable:
    def build():
        import timm

        return timm.create_model(name, **options), lambda module, images: (
            module.forward_intermediates(images, indices=taps, norm=True, intermediates_only=True))

    return build


def _published(name: str) -> Callable:
    """A model of timm with the tensors that the authors' checkpoint of it has."""
    def build():
        import timm
        import torch
        from timm.models.eva import checkpoint_filter_fn

        class Published(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.model = timm.create_model(name, **NARROW)

            def state_dict(self):
                tensors, width = {}, NARROW['embed_dim']
                for key, value in self.model.state_dict().items():
                    for theirs, published in (
                            ('reg_token', 'storage_tokens'), ('gamma_1', 'ls1.gamma'),
                            ('gamma_2', 'ls2.gamma'), ('fc1_g', 'w1'), ('fc1_x', 'w2'),
                            ('q_bias', 'qkv.bias')):
                        key = key.replace(theirs, published)
                    if key.endswith('qkv.bias'):
                        tensors[f'{key}_mask'] = value = torch.zeros(3 * width)
                    tensors[key] = value
                gated = any('.w1.' in key for key in tensors)
                tensors = {key.replace('fc2', 'w3') if gated else key: value
                           for key, value in tensors.items() if not key.endswith('v_bias')}
                periods = torch.zeros(width // NARROW['num_heads'] // 4)
                return tensors | {'mask_token': torch.zeros(1, width),
                                  'rope_embed.periods': periods}

            def load_state_dict(self, tensors):
                self.model.load_state_dict(checkpoint_filter_fn(dict(tensors), self.model))

        return Published(), lambda module, images: module.model.forward_intermediates(
            images, norm=True, intermediates_only=True)

    return build


def _transformers(**options: Any) -> Callable:
    def build():
        import transformers

        config = transformers.DINOv3ViTConfig(
            hidden_size=96, num_hidden_layers=2, num_attention_heads=3, intermediate_size=200,
            num_register_tokens=4, **options)

        def forward(module, images):
            size = [side // 16 for side in images.shape[2:]]
            found = module.model(images, output_hidden_states=True).hidden_states[1:]
            return [module.model.norm(tokens)[:, 5:].transpose(1, 2).unflatten(2, size)
                    for tokens in found]

        return as_saved(transformers.DINOv3ViTModel(config)), forward

    return build


OURS = dict(type='dinov3.DINOv3', variant=[96, 2, 3, 384])
ROWS = {
    'timm_dinov3_tiny': Row(
        'encoder', dict(type='dinov3.DINOv3', variant='tiny'), 'timm_vit.DINOv3', 'timm',
        _timm('vit_tiny_patch16_dinov3_qkvb', [2, 5, 8, 11]), size=(64, 96)),
    'timm_dinov3_small_plus': Row(
        'encoder', dict(OURS, mlp='swiglu', qkv_bias=False), 'timm_vit.DINOv3SwiGLU', 'timm',
        _timm('vit_small_plus_patch16_dinov3', [0, 1], **NARROW), size=(64, 96)),
    'dinov3_small': Row(
        'encoder', OURS, 'dinov3.DINOv3', 'timm', _published('vit_small_patch16_dinov3_qkvb'),
        size=(48, 80)),
    'dinov3_small_plus': Row(
        'encoder', dict(OURS, mlp='swiglu'), 'dinov3.DINOv3SwiGLU', 'timm',
        _published('vit_small_plus_patch16_dinov3_qkvb'), size=(48, 80)),
    'transformers_dinov3_small_plus': Row(
        'encoder', dict(OURS, variant=[96, 2, 3, 200], mlp='swiglu'), 'transformers_vit.DINOv3',
        'transformers', _transformers(use_gated_mlp=True, hidden_act='silu'), size=(48, 80)),
}
