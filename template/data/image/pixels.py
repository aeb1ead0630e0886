def read(channel: Path) -> tuple[np.ndarray, np.ndarray]:
    """A channel's images, in one folder per digit: features, and digits as indexes of shape [images]."""
    images, labels = [], []
    for file in files(channel, ".png", ".jpg", ".jpeg"):
        name = file.relative_to(channel)
        if file.parent.name not in LABELS:
            raise JobError(f"{name} must lie in a folder that is named {', '.join(LABELS)}")
        try:
            with Image.open(file) as image:
                images.append(features([image])[0])
        except OSError as error:
            raise JobError(f"{name} is not an image: {error}") from error
        labels.append(LABELS.index(file.parent.name))
    return np.stack(images), np.array(labels)


def features(images: Sequence[Image.Image]) -> np.ndarray:
    """Grey values from 0 to 1, float32 of shape [images, SIDE * SIDE], of images of any size and mode."""
    small = [grey(image).resize((SIDE, SIDE)) for image in images]
    return np.stack([np.asarray(image, dtype=np.float32).ravel() for image in small]) / 255


def grey(image: Image.Image) -> Image.Image:
    """One byte for each pixel. Of 16 bits, Pillow would make white of all but the darkest."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    return image.convert("L")
