"""From the image to an endpoint on AWS: `python -m deploy VERB`, one module for each verb."""
