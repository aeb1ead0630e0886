"""Whether two answers say the same: `compare.py ANSWER EXPECTED` exits 1 where they do not.

Another processor, or a training that runs again, changes the last digits of a number: numbers with a decimal
point may differ by one in a thousand, or by TOLERANCE.
"""

import math
import os
import re
import sys
from pathlib import Path

NUMBER = re.compile(r"(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)")


def same(answer: bytes, expected: bytes) -> bool:
    """Compare two answers of a text format, number by number."""
    try:
        ours, theirs = (NUMBER.split(text.decode().strip()) for text in (answer, expected))
    except UnicodeDecodeError:
        return answer == expected
    tolerance = float(os.environ.get("TOLERANCE", "0.001"))
    return len(ours) == len(theirs) and all(
        a == b or (n % 2 == 1 and "." in a + b and math.isclose(float(a), float(b), rel_tol=tolerance))
        for n, (a, b) in enumerate(zip(ours, theirs, strict=True))
    )


if __name__ == "__main__":
    sys.exit(not same(Path(sys.argv[1]).read_bytes(), Path(sys.argv[2]).read_bytes()))
