NUMBERS = ("bill_length_mm", "bill_depth_mm", "flipper_length_mm", "body_mass_g")
CATEGORIES = {"island": ("Biscoe", "Dream", "Torgersen"), "sex": ("female", "male")}
LABELS = ("Adelie", "Chinstrap", "Gentoo")
# What a request must carry: these columns, by name or in this order. A category may be missing.
INPUTS = Table(
    **{name: number() for name in NUMBERS},
    **{name: category(*values, optional=True) for name, values in CATEGORIES.items()},
)
# Columns of `features`: the numbers, and each category's values with one more for a missing one.
WIDTH = len(NUMBERS) + sum(len(values) + 1 for values in CATEGORIES.values())
