"""Every context layer as a config entry, by family, for the study and the benchmark."""

FAMILIES = ('none', 'recurrent', 'attention', 'convolutional')


def contexts(features: int) -> dict[str, tuple[str, dict]]:
    """`{name: (family, entry)}`: every layer gives `features` channels, a multiple of 16."""
    wide, heads = dict(features=features), dict(features=features, heads=max(1, features // 32))
    renet = dict(type='renet.ReNet', features=features // 2)
    four_way = dict(type='four_way_rnn.FourWayRNN', **wide)
    mdrnn = dict(type='mdrnn.MDRNN2D', **wide)
    recurrent = {
        **{f'renet_{cell}': dict(renet, cell=cell)
           for cell in ('gru', 'lstm', 'mgu', 'mingru', 'minlstm', 'rglru', 'lru', 's6')},
        **{f'four_way_rnn_{cell}': dict(four_way, cell=cell)
           for cell in ('gru', 'mingru', 'rglru')},
        'flattened_scan_mingru': dict(type='flattened_scan.FlattenedScan', cell='mingru', **wide),
        **{f'mdrnn_{cell}': dict(mdrnn, cell=cell) for cell in ('linear', 'gru')},
    }
    attention = {
        'self_attention': dict(type='self_attention.SelfAttention', **heads),
        'axial': dict(type='axial.Axial', **heads),
        'criss_cross': dict(type='criss_cross.CrissCross', **wide),
        'window_attention': dict(type='window_attention.WindowAttention', layers=2, **heads),
        'linear_attention': dict(type='linear_attention.LinearAttention', **heads),
        'attention_pooling': dict(type='attention_pooling.AttentionPooling', **wide),
    }
    convolutional = {
        'aspp': dict(type='aspp.ASPP', **wide),
        'pyramid_pooling': dict(type='pyramid_pooling.PyramidPooling', **wide),
        'ocr': dict(type='ocr.OCR', **wide),
        'large_kernel_attention': dict(type='large_kernel_attention.LargeKernelAttention', **wide),
    }
    families = {'none': {'identity': dict(type='identity.Identity')}, 'recurrent': recurrent,
                'attention': attention, 'convolutional': convolutional}
    return {name: (family, entry)
            for family in FAMILIES for name, entry in families[family].items()}
