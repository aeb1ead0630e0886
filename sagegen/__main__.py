"""`python -m sagegen` is `sagegen`."""

from sagegen.cli import main

if __name__ == "__main__":
    main()
