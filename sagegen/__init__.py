"""Generate Amazon SageMaker bring-your-own-container repositories."""

__version__ = "0.1.0.dev0"
