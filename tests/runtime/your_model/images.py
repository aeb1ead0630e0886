from byoc.inputs import Images

INPUTS = Images()  # requirements.txt must name pillow


def predict(model, inputs):  # inputs: a list of PIL.Image.Image
    return [{"width": image.width, "height": image.height} for image in inputs]
