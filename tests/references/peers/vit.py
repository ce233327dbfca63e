"""Vision transformers of timm and transformers."""

from collections.abc import Callable, Sequence
from typing import Any

from tests.references.parity import Row
from tests.references.saved_names import as_saved


def _timm(name: str, taps: Sequence[int], **options: Any) -> Callable:
    def build():
        import timm

        return timm.create_model(name, **options), lambda module, images: (
            module.forward_intermediates(images, indices=taps, intermediates_only=True))

    return build


def _transformers(name: str, patch: int, **options: Any) -> Callable:
    def build():
        import transformers

        model = getattr(transformers, f'{name}Model')
        config = getattr(transformers, f'{name}Config')(patch_size=patch, **options)

        def forward(module, images):
            size = [side // patch for side in images.shape[2:]]
            found = module.model(images, output_hidden_states=True, interpolate_pos_encoding=True)
            return [tokens[:, 1:].transpose(1, 2).unflatten(2, size)
                    for tokens in found.hidden_states[1:]]

        return as_saved(model(config)), forward

    return build


ROWS = {
    'timm_vit_tiny': Row(
        'encoder', dict(type='vit.ViT', variant='tiny'), 'timm_vit.ViT', 'timm',
        _timm('vit_tiny_patch16_224', [2, 5, 8, 11], dynamic_img_size=True), size=(64, 96)),
    'timm_deit_distilled': Row(
        'encoder', dict(type='vit.ViT', variant=[96, 2, 3], grid=[4, 6], registers=1,
                        token_positions='all'), 'timm_vit.DeiT', 'timm',
        _timm('deit_tiny_distilled_patch16_224', [0, 1], img_size=(64, 96), embed_dim=96,
              depth=2), size=(64, 96)),
    'timm_deit3_large_image': Row(
        'encoder', dict(type='vit.ViT', variant=[96, 2, 3], patch=8, grid=[4, 4], layer_scale=1e-6,
                        token_positions='none'), 'timm_vit.DeiT', 'timm',
        _timm('deit3_small_patch16_224', [0, 1], img_size=32, patch_size=8, embed_dim=96,
              depth=2, num_heads=3, dynamic_img_size=True), size=(56, 96)),
    'transformers_vit': Row(
        'encoder', dict(type='vit.ViT', variant=[96, 2, 3], grid=[4, 4], resampling='plain'),
        'transformers_vit.ViT', 'transformers',
        _transformers('ViT', 16, hidden_size=96, num_hidden_layers=2, num_attention_heads=3,
                      intermediate_size=384, image_size=64), size=(80, 96)),
}
