"""DPT of transformers."""

from tests.references.parity import Row
from tests.references.saved_names import as_saved

CLASSES = 5


def _transformers():
    import transformers

    config = transformers.DPTConfig(
        hidden_size=96, num_hidden_layers=4, num_attention_heads=3, intermediate_size=384,
        image_size=64, backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8, 12, 16, 20],
        fusion_hidden_size=24, use_batch_norm_in_fusion_residual=True, num_labels=CLASSES)
    module = transformers.DPTForSemanticSegmentation(config)
    return as_saved(module), lambda module, images: [module.model(images).logits]


ROWS = {
    'transformers_dpt': Row(
        'model', dict(
            type='segmentation_model.SegmentationModel', align_corners=True,
            encoder=dict(type='vit.ViT', variant=[96, 4, 3], grid=[4, 4], class_features=True,
                         resampling='bilinear'),
            decoder=dict(type='dpt.DPT', widths=[8, 12, 16, 20], features=24, readout='project'),
            head=dict(type='head.Head', kernel=1)),
        'transformers_dpt.DPT', 'transformers', _transformers, (96, 96), classes=CLASSES),
}
