"""gunicorn, for which two things are done first, because a start is made of imports.

What is imported is never garbage, and looking for some makes a start a tenth longer: `byoc/serving/gunicorn_hooks.py` turns
the collector on again once everything is there. And where installed modules lie is known (`byoc/index.py`).
"""

import gc

from byoc import index

gc.disable()
index.use()

from gunicorn.app.wsgiapp import run  # noqa: E402

if __name__ == "__main__":
    run()
