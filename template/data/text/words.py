def read(channel: Path) -> tuple[np.ndarray, np.ndarray]:
    """A channel's CSV files: features, and sources as indexes of shape [rows]."""
    rows = csv_rows(channel, "source", "text")
    labels = [LABELS.index(row.choice("source", LABELS)) for row in rows]
    return features([row["text"] for row in rows]), np.array(labels)


def features(texts: Sequence[str]) -> np.ndarray:
    """A number from 1 for each of a text's first WORDS words, then 0: int32 of shape [texts, WORDS]."""
    x = np.zeros((len(texts), WORDS), dtype=np.int32)
    for row, text in zip(x, texts, strict=True):
        words = re.findall(r"\w+", text.lower())[:WORDS]
        row[: len(words)] = [1 + zlib.crc32(word.encode()) % (VOCABULARY - 1) for word in words]
    return x
