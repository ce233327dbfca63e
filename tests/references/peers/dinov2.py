"""DINOv2 of timm, transformers, and of its authors by way of timm's own conversion."""

from collections.abc import Callable
from typing import Any

from tests.references.parity import Row
from tests.references.saved_names import as_saved

SMALL = dict(embed_dim=96, depth=2, num_heads=3, num_classes=0)


def _timm(name: str, taps: list[int], **options: Any) -> Callable:
    def build():
        import timm

        return timm.create_model(name, **options), lambda module, images: (
            module.forward_intermediates(images, indices=taps, norm=True, intermediates_only=True))

    return build


def _published(name: str, **options: Any) -> Callable:
    """A model of timm with the tensors that the authors' checkpoint of it has."""
    def build():
        import timm
        import torch
        from timm.models.vision_transformer import checkpoint_filter_fn

        class Published(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.model = timm.create_model(name, **options)

            def state_dict(self):
                tensors = dict(self.model.state_dict())
                tensors['mask_token'] = torch.zeros(1, tensors['cls_token'].shape[-1])
                if 'reg_token' in tensors:
                    tensors['register_tokens'] = tensors.pop('reg_token')
                    positions = [tensors['cls_token'], tensors['pos_embed']]
                    tensors['pos_embed'] = torch.cat(positions, 1)
                if tensors['blocks.0.mlp.fc1.weight'].shape[::-1] != (
                        tensors['blocks.0.mlp.fc2.weight'].shape):
                    tensors = {key.replace('fc1', 'w12').replace('fc2', 'w3'): value
                               for key, value in tensors.items()}
                return tensors

            def load_state_dict(self, tensors):
                self.model.load_state_dict(checkpoint_filter_fn(dict(tensors), self.model))

        return Published(), lambda module, images: module.model.forward_intermediates(
            images, norm=True, intermediates_only=True)

    return build


def _transformers(name: str, registers: int, **options: Any) -> Callable:
    def build():
        import transformers

        model = getattr(transformers, f'{name}Model')
        config = getattr(transformers, f'{name}Config')(
            hidden_size=96, num_hidden_layers=2, num_attention_heads=3, image_size=56,
            patch_size=14, **options)

        def forward(module, images):
            size = [side // 14 for side in images.shape[2:]]
            found = module.model(images, output_hidden_states=True).hidden_states[1:]
            return [module.model.layernorm(tokens)[:, 1 + registers:].transpose(1, 2).unflatten(
                2, size) for tokens in found]

        return as_saved(model(config)), forward

    return build


OURS = dict(type='vit.ViT', variant=[96, 2, 3], patch=14, grid=[4, 4], layer_scale=1e-5,
            norm_taps=True)
GIANT = dict(registers=4, variant=[96, 2, 3, 'swiglu'])
ROWS = {
    'timm_dinov2': Row(
        'encoder', OURS, 'timm_vit.DINOv2', 'timm',
        _timm('vit_small_patch14_dinov2', [0, 1], img_size=56, dynamic_img_size=True, **SMALL),
        size=(42, 56)),
    'timm_dinov2_giant_registers': Row(
        'encoder', OURS | GIANT | dict(token_positions='none'), 'timm_vit.DINOv2Giant', 'timm',
        _timm('vit_giant_patch14_reg4_dinov2', [0, 1], img_size=56, dynamic_img_size=True, **SMALL),
        size=(70, 56)),
    'dinov2_small': Row(
        'encoder', dict(OURS, grid=[4, 6]), 'dinov2.DINOv2', 'timm',
        _published('vit_small_patch14_dinov2', img_size=(56, 84), **SMALL), size=(56, 84)),
    'dinov2_giant_registers': Row(
        'encoder', OURS | GIANT, 'dinov2.DINOv2Giant', 'timm',
        _published('vit_giant_patch14_reg4_dinov2', img_size=56, dynamic_img_size=True, **SMALL),
        size=(70, 56)),
    'transformers_dinov2': Row(
        'encoder', dict(OURS, resampling='plain'), 'transformers_vit.DINOv2', 'transformers',
        _transformers('Dinov2', 0), size=(70, 84)),
    'transformers_dinov2_giant_registers': Row(
        'encoder', OURS | GIANT, 'transformers_vit.DINOv2Giant', 'transformers',
        _transformers('Dinov2WithRegisters', 4, use_swiglu_ffn=True), size=(70, 84)),
}
