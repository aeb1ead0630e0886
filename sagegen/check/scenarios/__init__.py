"""What the check does to an image, and what it writes down."""
