"""HRNets of timm."""

from tests.references.parity import Row


def _timm():
    import timm

    return timm.create_model('hrnet_w18_small'), lambda module, images: (
        module.forward_intermediates(images, intermediates_only=True))


ROWS = {
    'timm_hrnet_w18_small': Row(
        'encoder', dict(type='hrnet.HRNet', variant='w18_small', increase=True), 'timm_hrnet.HRNet',
        'timm', _timm, size=(64, 96)),
}
