def read(channel: Path) -> tuple[np.ndarray, np.ndarray]:
    """A channel's CSV files: features, and species as indexes of shape [rows]."""
    rows = csv_rows(channel, "species", *NUMBERS)
    table = {name: np.array([row.number(name) for row in rows]) for name in NUMBERS}
    for name, values in CATEGORIES.items():
        table[name] = np.array([row.optional_choice(name, values) for row in rows], dtype=object)
    return features(table), np.array([LABELS.index(row.choice("species", LABELS)) for row in rows])


def features(table: Mapping[str, np.ndarray]) -> np.ndarray:
    """The columns of INPUTS as float32 of shape [rows, WIDTH].

    A category becomes a column for each of its values: 1 where it has the value, else 0.
    """
    columns = [table[name] for name in NUMBERS]
    for name, values in CATEGORIES.items():
        columns += [table[name] == value for value in values]
    return np.stack(columns, axis=1).astype(np.float32)
