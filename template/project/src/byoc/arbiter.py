"""gunicorn, told first that what is imported is never garbage: to look for some makes a start a tenth longer.

`byoc/loading.py` turns the collector on again once everything is imported.
"""

import gc

gc.disable()

from gunicorn.app.wsgiapp import run  # noqa: E402

if __name__ == "__main__":
    run()
