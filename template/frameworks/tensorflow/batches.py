def mean(value: Any) -> float:
    """The mean over all processes of a number."""
    return float(total(np.float64(value))) / PROCESSES


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the columns of x, of shape [rows, columns], over the rows of all processes."""
    rows = float(total(np.float64(len(x))))
    means = np.asarray(total(x.sum(axis=0, dtype=np.float64))) / rows
    squares = np.asarray(total(np.square(x - means).sum(axis=0)))
    return means.astype(x.dtype), (squares / rows).astype(x.dtype)


class Batches:
    """Deals the rows of each batch out among the processes, which all take the same number of steps."""

    def __init__(self, rows: int, batch_size: int, sharded: bool = False) -> None:
        """`rows` are those that this process has: all there are or, of a sharded channel, its own."""
        self.sharded = sharded and PROCESSES > 1
        self.size = max(1, batch_size // PROCESSES) if self.sharded else batch_size
        own = np.zeros(PROCESSES, np.int32)
        own[RANK] = rows
        # Of each process, if they have different ones.
        self.rows = [int(count) for count in total(own)] if self.sharded else [rows]
        starts = range(0, max(self.rows), self.size)
        # Of each step, the rows of all processes.
        self.sizes = [sum(min(max(rows - start, 0), self.size) for rows in self.rows) for start in starts]

    def __call__(self, order: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """This process's rows of each batch, and their weights.

        A part that is shorter than another's is filled up with rows of weight 0. The mean of all processes'
        means of weighted losses is the mean of the whole batch.
        """
        for step, size in enumerate(self.sizes):
            batch = order[step * self.size : (step + 1) * self.size]
            rows = batch if self.sharded else np.array_split(batch, PROCESSES)[RANK]
            length = self.size if self.sharded else -(-len(batch) // PROCESSES)
            weights = np.zeros(length, np.float32)
            weights[: len(rows)] = PROCESSES * length / size
            yield np.concatenate([rows, np.full(length - len(rows), order[0])]), weights
