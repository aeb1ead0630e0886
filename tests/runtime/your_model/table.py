from byoc.inputs import Table, boolean, category, date, number, text, whole_number

INPUTS = Table(
    bill_length_mm=number(),
    year=whole_number(optional=True),
    island=category("Biscoe", "Dream", "Torgersen"),
    ringed=boolean(),
    seen=date(optional=True),
    note=text(optional=True),
    dataframe=True,
)


def predict(model, inputs):  # inputs: a pandas DataFrame with exactly these columns
    return inputs[["island", "bill_length_mm"]]
