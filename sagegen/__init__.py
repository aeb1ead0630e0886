"""Generate Amazon SageMaker bring-your-own-container repositories."""

try:
    # Written when the package is built or installed, from the git tag.
    from sagegen._version import __version__ as __version__
except ModuleNotFoundError:  # a copy of the source that nobody installed
    __version__ = "0.dev0"
