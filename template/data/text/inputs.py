LABELS = ("devil", "jargon")
INPUTS = Text()  # what a request must carry; `predict` gets a list of strings
# Words of a text that count, and how many words are told apart: those with the same hash are one.
WORDS, VOCABULARY = 64, 4096
