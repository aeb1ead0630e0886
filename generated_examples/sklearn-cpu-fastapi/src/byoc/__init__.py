"""What Amazon SageMaker asks of a container, so that model.py can be about the model."""
