# Printed by log_metrics once per epoch; `make metrics` gives the regexes for create_training_job.
METRICS = ("epoch", "train_loss", "validation_loss", "validation_accuracy", "test_accuracy")
