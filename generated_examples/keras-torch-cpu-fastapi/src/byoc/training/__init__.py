"""What `train` runs: the job that SageMaker describes, and the truth about how it ended."""
