"""HarDNets of the authors' code, which is no package: its file hardnet.py must be importable."""

from collections.abc import Callable

from tests.references.parity import Row

REPOSITORY = 'github.com/PingoLH/Pytorch-HarDNet@de9662f30ffa'


def _authors(arch: int, depthwise: bool) -> Callable:
    def build():
        from hardnet import HarDNet

        def forward(module, images):
            stages, x = [], images
            for layer in module.base[:-1]:
                y = layer(x)
                if y.shape[-1] < x.shape[-1] and x is not images:
                    stages.append(x)
                x = y
            return [*stages, x]

        return HarDNet(depthwise, arch, pretrained=False), forward

    return build


ROWS = {
    'hardnet39ds': Row('encoder', dict(type='hardnet.HarDNet', variant='39ds'), 'hardnet.HarDNet',
                       REPOSITORY, _authors(39, True), size=(64, 96)),
    'hardnet68': Row('encoder', dict(type='hardnet.HarDNet', variant='68'), 'hardnet.HarDNet',
                     REPOSITORY, _authors(68, False), size=(64, 96)),
}
