"""What predictions cost, learnt from those of the same size: whether one is short enough to wait for."""

# Shorter than a scheduling slice: handing such a prediction to a thread would cost more than it does.
SHORT_SECONDS = 0.002
# How much of the difference to what is known each prediction teaches. One that takes ten milliseconds counts
# at once; one that only had to wait for its CPU does not.
DEARER, CHEAPER = 0.2, 0.1


class Costs:
    """Seconds per prediction by size of the request's body, in powers of two."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}

    def is_short(self, size: int) -> bool:
        """Whether a prediction for a body of so many bytes will take next to no time; False if unknown."""
        return self._seconds.get(size.bit_length(), 1.0) < SHORT_SECONDS

    def learn(self, size: int, seconds: float) -> None:
        """Remember what a prediction took: dear ones quickly, cheap ones only by and by."""
        key = size.bit_length()
        known = self._seconds.get(key, seconds)
        share = DEARER if seconds > known else CHEAPER
        self._seconds[key] = known + share * (seconds - known)
