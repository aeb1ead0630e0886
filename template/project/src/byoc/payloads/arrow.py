"""Arrow, imported the way that servers need it."""

import os

# One of its allocators starts a thread, with which nothing could be forked any more.
os.environ.setdefault("JE_ARROW_MALLOC_CONF", "background_thread:false")
# Now, not when it is first needed: scikit-learn asks in each prediction whether it was given one of Arrow's
# tables, and fails in one thread while another imports pyarrow.
import pyarrow

__all__ = ["pyarrow"]
