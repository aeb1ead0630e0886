LABELS = ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
INPUTS = Images()  # what a request must carry; `predict` gets a list of PIL images
# Every image is scaled to SIDE x SIDE pixels.
SIDE = 8
