"""Several processes that train a Keras model with TensorFlow's collectives; one process needs none."""

import os
import pickle
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Any

import keras
import numpy as np
import tensorflow as tf

{% include "template/frameworks/tensorflow/collectives.py" %}


{% include "template/frameworks/keras/averaging.py" %}
