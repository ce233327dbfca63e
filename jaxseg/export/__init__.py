"""Trained models as files that run without jaxseg: StableHLO for JAX, ONNX for everything else."""
