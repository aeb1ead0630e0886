{% if keras_backend == "tensorflow" %}
{% include "template/frameworks/keras/distributed/tensorflow.py" %}
{% elif keras_backend == "torch" %}
{% include "template/frameworks/keras/distributed/torch.py" %}
{% else %}
{% include "template/frameworks/keras/distributed/jax.py" %}
{% endif %}


{% include "template/frameworks/tensorflow/batches.py" %}
