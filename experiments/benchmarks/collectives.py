"""What the devices send each other in a training step of every layout, and what that would cost.

    python experiments/benchmarks/collectives.py [--csv experiments/benchmarks/collectives.csv]
        [--link 450] [--network 50] [--flops 200] [--images 16]

Counts the collectives of the ResNet-18 U-Net of `step.py` (14.33 M parameters, AdamW) in the
program that XLA compiles for 8 devices and 8 images of 256x256, and what a device sends in a step.
Beside it is the ideal, with P bytes of parameters in float32:

- an all-reduce of the gradients over n devices: 2 (n-1)/n P (Patarasuk & Yuan 2009);
- parameters split over n devices: an all-gather in the forward pass, one in the backward pass, and
  a reduce-scatter of the gradients, (n-1)/n P each (Rajbhandari et al. 2020, ZeRO, section 7);
- both, d copies of f shares: 3 (f-1)/f P, and 2 (d-1)/d P/f between the copies;
- the rows that devices exchange along the height depend on the convolutions, and are left out.

XLA makes reduce-scatters for GPUs and TPUs alone; for CPUs it keeps the all-reduce, of which each
device then takes its share; a sharding constraint on the gradients changes nothing of the program.
So the figure for fsdp=8 is (n-1)/n P above that of a GPU.

Simulated devices say nothing of time, so that is an estimate on paper, of the ideal. A GPU computes
`flops` TFLOP/s in a step of `images` images; a host has 8 of them, each with `link` GB/s to the
others, and `network` GB/s to other hosts. Of the n GPUs of a group h are in one host, and m = n/h
hosts take part. In a gather of P bytes a GPU receives its share from the other hosts, and then the
shares of its neighbours:

    seconds = P/h (m-1)/m / network + P (h-1)/h / link

A reduce-scatter takes as long, an all-reduce twice that; GPUs that share one copy of the parameters
are neighbours, and data=8 and fsdp=8 become data=256 and data=32, fsdp=8 on 256 GPUs. The share of
the time in which a GPU computes is that without any overlap, the least to expect: XLA on GPUs
overlaps most of it.
"""

import math
import pathlib
import re
import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parent))

from measure import argument_parser, machine, write  # noqa: E402
from step import CLASSES, model_of  # noqa: E402

from jaxseg.build import build, build_losses  # noqa: E402
from jaxseg.memory import tree_bytes  # noqa: E402
from jaxseg.tasks.semantic import Semantic  # noqa: E402
from jaxseg.training.layout import JitLayout, init_key, make_layout  # noqa: E402
from jaxseg.training.optimizer import adamw  # noqa: E402
from jaxseg.training.parallel import Parallel  # noqa: E402
from jaxseg.training.schedule import constant  # noqa: E402
from jaxseg.training.supervised import Supervised  # noqa: E402

DEVICES, HOST = 8, 8
SIDE = 256
LAYOUTS = {'data=8': {}, 'fsdp=8': {'fsdp': 8}, 'data=2, fsdp=4': {'fsdp': 4},
           'data=2, space=4': {'space': 4}, 'pmap': {'strategy': 'pmap'}}
COLLECTIVES = ('all-reduce', 'all-gather', 'reduce-scatter', 'collective-permute', 'all-to-all')
COLUMNS = ('layout', *COLLECTIVES, 'sent_mib', 'ideal_mib', 'state_mib', 'temporary_mib',
           'computing_ms', 'communication_ms_8', 'computing_share_8', 'communication_ms_256',
           'computing_share_256')
ITEMSIZE = {'pred': 1, 's8': 1, 'u8': 1, 'bf16': 2, 'f16': 2, 's32': 4, 'u32': 4, 'f32': 4,
            's64': 8, 'u64': 8, 'f64': 8}


class Collective(NamedTuple):
    """One instruction of a compiled program."""

    kind: str
    bytes: int  # of its result
    group: int  # devices that take part

    @property
    def sent(self) -> float:
        """Bytes that a device sends, with the algorithms that send least."""
        ring = (self.group - 1) / self.group
        return self.bytes * {'all-reduce': 2 * ring, 'all-gather': ring, 'all-to-all': ring,
                             'reduce-scatter': self.group - 1, 'collective-permute': 1}[self.kind]


def collectives(text: str, devices: int) -> list[Collective]:
    """All collectives of a program; those in the body of a loop once.

    Args:
      text: of `compiled.as_text()`.
      devices: of the whole program, the group of an instruction that states none.

    Raises:
      ValueError: a group is written in another way than those that are known.
    """
    found = []
    pattern = rf' = (.*?) ({"|".join(COLLECTIVES)})\((.*)'
    for result, kind, rest in re.findall(pattern, text):
        stated = re.search(r'replica_groups=(?!\{\})(.*)', rest)
        group = _group(stated[1]) if stated else devices
        size = sum(ITEMSIZE[kind] * math.prod(int(side) for side in sides.split(',') if side)
                   for kind, sides in re.findall(r'(\w+)\[([\d,]*)\]', result))
        found.append(Collective(kind, size, group))
    return found


def _group(text: str) -> int:
    """How many devices are in a group: listed, as [groups,devices], or by axes of a mesh."""
    listed, iota = re.match(r'\{\{([\d,]*)\}', text), re.match(r'\[\d+,(\d+)\]', text)
    if listed:
        return len(listed[1].split(','))
    if iota:
        return int(iota[1])
    mesh = re.match(r"mesh\[([^\]]*)\].*?\{([^}]*)\}", text)
    sides = dict(re.findall(r"('\w+')=(\d+)", mesh[1])) if mesh else {}
    axes = mesh[2].split(', ') if mesh else ['']
    if not all(axis in sides for axis in axes):
        raise ValueError(f'replica_groups={text[:80]}: a new way to write groups')
    return math.prod(int(sides[axis]) for axis in axes)


def ideal_bytes(parameters: float, data: int, fsdp: int) -> float:
    """Bytes that a device must send for its gradients and parameters."""
    return parameters * (3 * (fsdp - 1) / fsdp + 2 * (data - 1) / data / fsdp)


def seconds_of_communication(parameters: float, gpus: int, fsdp: int, link: float, network: float
                             ) -> float:
    """The estimate of the docstring.

    Args:
      parameters: their bytes.
      fsdp: GPUs that share one copy.
      link, network: bytes a second.
    """
    def gather(size: float, devices: int, stride: int) -> float:
        """Of a group whose members are `stride` GPUs apart."""
        here = max(min(devices, HOST // stride), 1)
        hosts = devices // here
        return size * (here - 1) / here / link + size / here * (hosts - 1) / hosts / network

    return 3 * gather(parameters, fsdp, 1) + 2 * gather(parameters / fsdp, gpus // fsdp, fsdp)


def algorithm(axis_name: str | None) -> Supervised:
    """The U-Net of step.py."""
    model = build('model', model_of('resnet18_unet')[0], classes=CLASSES)
    losses = build_losses({'cross_entropy': {'type': 'cross_entropy.cross_entropy'}})
    return Supervised(model, Semantic(tuple(map(str, range(CLASSES))), losses, False),
                      lambda batch, key: batch, adamw(learning_rate=1e-3, schedule=constant(
                          steps=1000)), axis_name)


def measure(name: str, keys: dict) -> tuple[dict, float, JitLayout]:
    """The figures of one layout, the operations of a device for an image, and the layout."""
    layout = make_layout(Parallel(**keys))
    method, shape = algorithm(layout.axis_name), (DEVICES, SIDE, SIDE)
    batch = {'image': np.zeros((*shape, 3), np.float32), 'label': np.zeros(shape, np.int32),
             'valid': np.ones(shape, bool)}
    state = jax.eval_shape(lambda batch: method.init(init_key(0), batch), batch)
    program = layout.step_program(method.step, 0, state, batch)
    found = collectives(program.as_text(), DEVICES)
    ideal = ideal_bytes(tree_bytes(state.params), layout.data * layout.space, layout.fsdp)
    on_device = sum(math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
                    for leaf in jax.tree.leaves(layout.place(state)))
    row = {'layout': name,
           **{kind: sum(each.kind == kind for each in found) for kind in COLLECTIVES},
           'sent_mib': round(sum(each.sent for each in found) / 2 ** 20, 1),
           'ideal_mib': round(ideal / 2 ** 20, 1),
           'state_mib': round(on_device / 2 ** 20, 1),
           'temporary_mib': round(program.memory_analysis().temp_size_in_bytes / 2 ** 20)}
    return row, program.cost_analysis()['flops'], layout


def main():
    """Compiles, prints, writes."""
    parser = argument_parser(__doc__, repeats=1)
    parser.add_argument('--link', type=float, default=450, help='GB/s of a GPU inside of a host')
    parser.add_argument('--network', type=float, default=50, help='GB/s of a GPU between hosts')
    parser.add_argument('--flops', type=float, default=200, help='TFLOP/s that a step reaches')
    parser.add_argument('--images', type=int, default=16, help='a GPU, in a step')
    arguments = parser.parse_args()
    jax.config.update('jax_num_cpu_devices', DEVICES)
    print(machine(), flush=True)
    rows, parameters = [], tree_bytes(jax.eval_shape(
        lambda: algorithm(None).init(init_key(0), {'image': jnp.zeros((1, SIDE, SIDE, 3))})).params)
    for name, keys in LAYOUTS.items():
        row, flops, layout = measure(name, keys)
        computing = flops * arguments.images / (arguments.flops * 1e12)
        for gpus in (8, 256):
            talking = seconds_of_communication(parameters, gpus, layout.fsdp,
                                               arguments.link * 1e9, arguments.network * 1e9)
            row |= {f'communication_ms_{gpus}': round(1e3 * talking, 2),
                    f'computing_share_{gpus}': round(computing / (computing + talking), 3)}
        row['computing_ms'] = round(1e3 * computing, 2)
        rows.append(row)
        print(', '.join(f'{key} {value}' for key, value in row.items()), flush=True)
        if arguments.csv:
            write(arguments.csv, rows, COLUMNS)


if __name__ == '__main__':
    main()
