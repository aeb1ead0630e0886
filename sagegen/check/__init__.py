"""`sagegen check`: does an image keep SageMaker's contract?

Scenarios run containers as SageMaker does and record what happened; rules read the record and judge.
"""
