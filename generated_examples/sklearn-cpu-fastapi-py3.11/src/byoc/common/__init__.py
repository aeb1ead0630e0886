"""What `train` and `serve` share: paths, processes, GPUs and the artifact."""
