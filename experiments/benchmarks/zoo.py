"""Parameters, GFLOP and forward time of every encoder and decoder.

    python -m experiments.benchmarks.zoo --csv=experiments/benchmarks/zoo.csv

Encoders: images of 1x256x256, with the default fields of the part and, where it has variants, the
ones in `VARIANTS`. Decoders: the stages of a ResNet-18 for these images. GFLOP are those that the
compiler counts (two for a multiplication with an addition).
"""
