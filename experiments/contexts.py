"""The context layers as config entries, by family: what the study trains and the benchmark measures."""

FAMILIES = ('none', 'recurrent', 'attention', 'convolutional')


def contexts(features: int) -> dict[str, tuple[str, dict]]:
    """`{name: (family, entry)}`: every layer gives `features` channels, a multiple of 16."""
    half, heads = features // 2, max(1, features // 32)
    return {
        'identity': ('none', dict(type='identity.Identity')),
        'renet_gru': ('recurrent', dict(type='renet.ReNet', features=half, cell='gru')),
        'renet_lstm': ('recurrent', dict(type='renet.ReNet', features=half, cell='lstm')),
        'renet_mgu': ('recurrent', dict(type='renet.ReNet', features=half, cell='mgu')),
        'renet_mingru': ('recurrent', dict(type='renet.ReNet', features=half, cell='mingru')),
        'renet_minlstm': ('recurrent', dict(type='renet.ReNet', features=half, cell='minlstm')),
        'renet_rglru': ('recurrent', dict(type='renet.ReNet', features=half, cell='rglru')),
        'renet_lru': ('recurrent', dict(type='renet.ReNet', features=half, cell='lru')),
        'renet_s6': ('recurrent', dict(type='renet.ReNet', features=half, cell='s6')),
        'four_way_rnn_gru': ('recurrent', dict(type='four_way_rnn.FourWayRNN', features=features, cell='gru')),
        'four_way_rnn_mingru': ('recurrent', dict(type='four_way_rnn.FourWayRNN', features=features, cell='mingru')),
        'four_way_rnn_rglru': ('recurrent', dict(type='four_way_rnn.FourWayRNN', features=features, cell='rglru')),
        'flattened_scan_mingru': ('recurrent', dict(type='flattened_scan.FlattenedScan', features=features, cell='mingru')),
        'mdrnn_linear': ('recurrent', dict(type='mdrnn.MDRNN2D', features=features, cell='linear')),
        'mdrnn_gru': ('recurrent', dict(type='mdrnn.MDRNN2D', features=features, cell='gru')),
        'self_attention': ('attention', dict(type='self_attention.SelfAttention', features=features, heads=heads)),
        'axial': ('attention', dict(type='axial.Axial', features=features, heads=heads)),
        'criss_cross': ('attention', dict(type='criss_cross.CrissCross', features=features)),
        'window_attention': ('attention', dict(type='window_attention.WindowAttention', features=features, heads=heads, layers=2)),
        'linear_attention': ('attention', dict(type='linear_attention.LinearAttention', features=features, heads=heads)),
        'attention_pooling': ('attention', dict(type='attention_pooling.AttentionPooling', features=features)),
        'aspp': ('convolutional', dict(type='aspp.ASPP', features=features)),
        'pyramid_pooling': ('convolutional', dict(type='pyramid_pooling.PyramidPooling', features=features)),
        'ocr': ('convolutional', dict(type='ocr.OCR', features=features)),
        'large_kernel_attention': ('convolutional', dict(type='large_kernel_attention.LargeKernelAttention', features=features)),
    }
