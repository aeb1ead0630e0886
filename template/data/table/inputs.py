{% include "template/data/table/columns.py" %}
# What a request must carry: these columns, by name or in this order. A category may be missing.
INPUTS = Table(
    **{name: number() for name in NUMBERS},
    **{name: category(*values, optional=True) for name, values in CATEGORIES.items()},
)
# Columns of `features`: one for each number, and one for each value of a category.
WIDTH = len(NUMBERS) + sum(len(values) for values in CATEGORIES.values())
