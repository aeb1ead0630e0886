"""The contract's rules, one module for each of its chapters."""
