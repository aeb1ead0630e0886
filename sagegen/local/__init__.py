"""`sagegen local`: a SageMaker on this machine, where real clients run real containers.

`front` receives every call, `wire` judges it against botocore's models, and each service has a module. What
is not SageMaker's own is moto's, in this process.
"""
