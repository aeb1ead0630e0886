from byoc.inputs import Numbers

INPUTS = Numbers("bill_length_mm", "bill_depth_mm")


def predict(model, inputs):  # inputs: float array of shape [rows, 2]
    return inputs.sum(axis=1)
