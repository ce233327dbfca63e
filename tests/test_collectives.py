"""What a compiled program sends, counted and estimated by hand."""

import pytest

from experiments.benchmarks.collectives import (
    collectives,
    ideal_bytes,
    seconds_of_communication,
)

PROGRAM = '''
  %all-reduce.1 = f32[16]{0} all-reduce(%p), channel_id=1, replica_groups=[1,8]<=[8], to_apply=%add
  %g = (f32[8,4]{1,0}, bf16[8]{0}) all-gather(%a, %b), replica_groups={{0,1},{2,3}}, dimensions={0}
  %s = f32[2]{0} reduce-scatter(%c), replica_groups={{0,1,2,3}}, dimensions={0}, to_apply=%add
  %c = f32[1,2]{1,0} collective-permute(%all-reduce.1), source_target_pairs={{0,1},{1,2}}
  %m = f32[4]{0} all-reduce(%d), replica_groups=mesh['b'=4,'c'=2], device_ids=([2,4]T(1,0)) {'b'}
  %n = f32[4]{0} all-reduce(%d), channel_id=9, replica_groups=mesh['a'=2,'b'=4] {'a', 'b'}, to=%a
  %f = f32[2]{0} fusion(%all-reduce.1, %g), kind=kLoop, calls=%fused
'''


def test_every_collective_is_counted_with_what_a_device_sends():
    found = [(each.kind, each.bytes, each.group, each.sent) for each in collectives(PROGRAM, 8)]
    assert found == [('all-reduce', 64, 8, 112), ('all-gather', 144, 2, 72),
                     ('reduce-scatter', 8, 4, 24), ('collective-permute', 8, 8, 8),
                     ('all-reduce', 16, 4, 24), ('all-reduce', 16, 8, 28)]
    with pytest.raises(ValueError, match='a new way to write groups'):
        collectives(" = f32[4] all-reduce(%d), replica_groups=mesh['a'=4] {'a':(1)2}", 8)


@pytest.mark.parametrize('data, fsdp, expected', [
    (1, 1, 0), (8, 1, 2 * 7 / 8), (1, 8, 3 * 7 / 8), (2, 4, 3 * 3 / 4 + 2 / 2 / 4)])
def test_the_ideal_is_that_of_a_ring(data, fsdp, expected):
    assert ideal_bytes(1, data, fsdp) == pytest.approx(expected)


@pytest.mark.parametrize('gpus, fsdp, expected', [
    # Links of 100 bytes a second in a host of 8, 10 between hosts.
    (8, 1, 2 * 7 / 8 / 100), (8, 8, 3 * 7 / 8 / 100),
    (256, 1, 2 * (7 / 8 / 100 + 1 / 8 * 31 / 32 / 10)),
    (256, 8, 3 * 7 / 8 / 100 + 2 / 8 * 31 / 32 / 10)])
def test_hosts_share_out_what_comes_over_the_network(gpus, fsdp, expected):
    assert seconds_of_communication(1, gpus, fsdp, 100, 10) == pytest.approx(expected)
