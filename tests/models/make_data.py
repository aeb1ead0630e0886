"""Write the training data and the requests of these models again: made up, so nobody holds a licence on them.

python tests/models/make_data.py
"""

from __future__ import annotations

import io
import json
import random
from base64 import b64encode
from pathlib import Path

from PIL import Image, ImageDraw

HERE = Path(__file__).parent


def write(model: str, name: str, text: str | bytes) -> None:
    path = HERE / model / "local_test" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())


def job(model: str, hyperparameters: dict[str, str]) -> None:
    config = "opt_ml/input/config"
    write(model, f"{config}/hyperparameters.json", json.dumps(hyperparameters, indent=2) + "\n")
    channel = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"}
    write(model, f"{config}/inputdataconfig.json", json.dumps({"train": channel}, indent=2) + "\n")


def csv(rows: list[list[object]]) -> str:
    return "".join(",".join("" if cell is None else str(cell) for cell in row) + "\n" for row in rows)


def jsonl(items: list[object]) -> str:
    return "".join(json.dumps(item) + "\n" for item in items)


def regression() -> None:
    draw = random.Random(1)
    rows: list[list[object]] = [["area", "rooms", "age", "rent"]]
    for _ in range(80):
        area, age = round(draw.uniform(20, 140), 1), draw.randint(0, 90)
        rooms = max(1, round(area / 28 + draw.gauss(0, 0.5)))
        rows.append([area, rooms, age, round(180 + 9.5 * area + 40 * rooms - 2 * age + draw.gauss(0, 25), 2)])
    write("regression", "opt_ml/input/data/train/flats.csv", csv(rows))
    job("regression", {"alpha": "0.5"})
    flats: list[list[object]] = [[35.0, 1, 60], [72.5, 3, 12], [120.0, 5, 0]]
    write("regression", "payloads/records.csv", csv([["area", "rooms", "age"], *flats]))
    write("regression", "payloads/records.json", json.dumps({"instances": flats}) + "\n")
    records = [dict(zip(("area", "rooms", "age"), flat, strict=True)) for flat in flats]
    write("regression", "payloads/records.jsonl", jsonl([*records]))


TICKETS = {
    "billing": [
        "I was charged {} times for my {}",
        "please refund the payment for the {}, order {}",
        "the invoice of {1} lists a {0} that I never ordered",
        "my card was declined when I paid for the {}",
        "how do I change the bank account for the {} invoices?",
    ],
    "shipping": [
        "the {} has not arrived after {} days",
        "my parcel with the {} went to the wrong address",
        "when will the {} be delivered?",
        "the courier left the {} in the rain, tracking number {}",
        "can you ship {1} more of the {0} to Norway?",
    ],
    "technical": [
        "the {} does not start after the update to version {}",
        "my {} shows error {} and switches itself off",
        "the app crashes when I connect the {}",
        "how do I reset the password of the {}?",
        "the battery of the {} is empty after {} minutes",
    ],
}


def text_classifier() -> None:
    draw = random.Random(2)
    things = ["lamp", "kettle", "router", "camera", "speaker", "toaster", "watch", "printer"]
    lines: list[object] = [
        {"text": sentence.format(draw.choice(things), draw.randint(2, 99)), "team": team}
        for team, sentences in TICKETS.items()
        for sentence in sentences
        for _ in range(5)
    ]
    draw.shuffle(lines)
    write("text_classifier", "opt_ml/input/data/train/tickets.jsonl", jsonl(lines))
    job("text_classifier", {"c": "20", "max_ngram": "2"})
    texts: list[object] = [
        "I want a refund, my card was charged twice",
        "where is my parcel?\nIt should have been delivered on Monday, says the courier",
        "error 17 after the update: the printer does not start",
    ]
    write("text_classifier", "payloads/records.json", json.dumps({"inputs": texts}) + "\n")
    write("text_classifier", "payloads/records.jsonl", jsonl([{"text": text} for text in texts]))
    write("text_classifier", "payloads/one.txt", str(texts[0]))


def tagger() -> None:
    draw = random.Random(3)
    names = {
        "PER": [
            "Ada Lund",
            "Omar Haddad",
            "Grace Okafor",
            "Ivan Petrov",
            "Mei Tanaka",
            "Lucía Vega",
            "Jonas",
        ],
        "LOC": ["Bergen", "New Delhi", "Nairobi", "São Paulo", "Quito", "Prague", "Cape Town"],
        "ORG": ["Acme Corp", "Nordbank", "Globex", "Initech", "Umbra Labs", "ACME", "Vector Motors"],
    }
    patterns = [
        "{PER} moved from {LOC} to {LOC} .",
        "{ORG} opens an office in {LOC} , says {PER} .",
        "In {LOC} , {PER} works for {ORG} .",
        "Shares of {ORG} fell by 3 % .",
        "{PER} and {PER} founded {ORG} .",
        "The weather in {LOC} was fine , and nobody complained .",
        "{ORG} bought {ORG} .",
    ]
    sentences = []
    for number in range(90):
        lines = []
        for word in patterns[number % len(patterns)].split():
            kind = word.strip("{}")
            if kind in names:
                parts = draw.choice(names[kind]).split()
                lines += [f"{part} {'I' if i else 'B'}-{kind}" for i, part in enumerate(parts)]
            else:
                lines.append(f"{word} O")
        sentences.append("\n".join(lines))
    write("tagger", "opt_ml/input/data/train/news.conll", "\n\n".join(sentences) + "\n")
    job("tagger", {"solver": "lbfgs"})
    texts: list[object] = [
        "Grace Okafor works for Umbra Labs in Nairobi.",
        "Shares of Globex fell.",
        "",
        "Lucía Vega moved from Quito to São Paulo, and Jonas founded Initech.",
    ]
    write("tagger", "payloads/records.json", json.dumps({"inputs": texts}) + "\n")
    write("tagger", "payloads/records.jsonl", jsonl([{"text": text} for text in texts]))
    write("tagger", "payloads/one.txt", str(texts[0]))


def surface(kind: str, draw: random.Random) -> bytes:
    """A JPEG of 40 x 30 pixels."""
    base = {"sky": (110, 160, 230), "grass": (60, 140, 50), "brick": (170, 80, 60)}[kind]
    image = Image.new("RGB", (40, 30), base)
    pen = ImageDraw.Draw(image)
    for _ in range({"sky": 2, "grass": 90, "brick": 0}[kind]):
        x, y, shade = draw.randrange(40), draw.randrange(30), draw.randint(-40, 40)
        colour = tuple(max(0, min(255, part + shade)) for part in base)
        size = 10 if kind == "sky" else 1
        pen.line((x, y, x + size, y + (0 if kind == "sky" else 4)), fill=colour)
    if kind == "brick":
        shift = draw.randrange(8)
        for y in range(0, 30, 6):
            pen.line((0, y, 40, y), fill=(200, 195, 185))
            for x in range((y % 12) + shift - 8, 40, 12):
                pen.line((x, y, x, y + 6), fill=(200, 195, 185))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=70)
    return out.getvalue()


def image_classifier() -> None:
    draw = random.Random(4)
    kinds = ("brick", "grass", "sky")
    for kind in kinds:
        for number in range(8):
            name = f"opt_ml/input/data/train/{kind}/{number}.jpg"
            write("image_classifier", name, surface(kind, draw))
    job("image_classifier", {"trees": "25"})
    photos = [surface(kind, draw) for kind in kinds]
    several = [{"b64": b64encode(photo).decode()} for photo in photos]
    write("image_classifier", "payloads/records.json", json.dumps({"instances": several}) + "\n")
    write("image_classifier", "payloads/records.jsonl", jsonl([*several]))
    write("image_classifier", "payloads/one.jpg", photos[1])


def scene(draw: random.Random, count: int, size: int = 48) -> tuple[bytes, list[object]]:
    """A PNG with so many discs and squares that do not touch, and [label, box] of each."""
    image = Image.new("RGB", (size, size), (40, 40, 45))
    pen = ImageDraw.Draw(image)
    objects: list[object] = []
    taken: list[tuple[int, int, int]] = []
    while len(objects) < count:
        half = draw.randint(size // 10, size // 6)
        x, y = (draw.randint(half + 1, size - half - 2) for _ in range(2))
        if any(max(abs(x - u), abs(y - v)) < half + other + size // 10 for u, v, other in taken):
            continue
        taken.append((x, y, half))
        box = (x - half, y - half, x + half, y + half)
        label = draw.choice(("disc", "square"))
        if label == "disc":
            pen.ellipse(box, fill=(draw.randint(180, 255), 90, 60))
        else:
            pen.rectangle(box, fill=(60, 90, draw.randint(180, 255)))
        objects.append([label, box])
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue(), objects


def detector() -> None:
    draw = random.Random(5)
    boxes = {}
    for number in range(60):
        image, boxes[f"{number:02}.png"] = scene(draw, number % 4)
        write("detector", f"opt_ml/input/data/train/{number:02}.png", image)
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(objects)}" for name, objects in boxes.items())
    write("detector", "opt_ml/input/data/train/boxes.json", f"{{\n{lines}\n}}\n")
    job("detector", {"epochs": "40"})
    # Of these scenes no answer is close to the next whole pixel, where another processor might round it to.
    scenes = ((80, 2, 48), (0, 0, 48), (177, 3, 96))
    images = [scene(random.Random(seed), count, size)[0] for seed, count, size in scenes]
    several = [{"b64": b64encode(image).decode()} for image in images]
    write("detector", "payloads/records.json", json.dumps({"instances": several}) + "\n")
    write("detector", "payloads/records.jsonl", jsonl([*several]))
    write("detector", "payloads/one.png", images[0])


def boosting() -> None:
    draw = random.Random(6)
    names = ["plan", "region", "months", "monthly_charge", "support_calls", "autopay"]
    rows: list[list[object]] = [[*names, "left"]]
    for _ in range(300):
        plan = draw.choice(("basic", "plus", "business"))
        months, calls = draw.randint(0, 60), min(9, int(draw.expovariate(0.6)))
        charge = round({"basic": 15, "plus": 35, "business": 80}[plan] * draw.uniform(0.8, 1.3), 2)
        autopay = draw.random() < 0.5
        risk = 1.2 * calls - 0.08 * months + (1.0 if plan == "basic" else 0) - (1.5 if autopay else 0)
        row: list[object] = [
            plan,
            draw.choice(("north", "south", "east", "west")),
            months,
            charge,
            calls,
            str(autopay).lower(),
        ]
        for place in (1, 3, 4, 5):  # a value in ten is missing
            if draw.random() < 0.1:
                row[place] = None
        rows.append([*row, int(risk + draw.gauss(0, 0.7) > 0)])
    write("boosting", "opt_ml/input/data/train/customers.csv", csv(rows))
    job("boosting", {"num_boost_round": "40", "lambda": "0.5"})
    customers: list[list[object]] = [
        ["basic", "north", 2, 17.9, 5, "false"],
        ["business", None, 48, None, 0, "true"],
        ["plus", "west", 12, 33.0, None, None],
        ["basic", None, 59, 14.5, 1, "true"],
    ]
    write("boosting", "payloads/records.csv", csv([[*names], *customers]))
    typed = [
        [None if c is None else c == "true" if i == 5 else c for i, c in enumerate(r)] for r in customers
    ]
    records: list[object] = [
        {name: cell for name, cell in zip(names, row, strict=True) if cell is not None} for row in typed
    ]
    write("boosting", "payloads/records.jsonl", jsonl(records))
    write("boosting", "payloads/records.json", json.dumps({"columns": names, "data": typed}) + "\n")


def landscape(draw: random.Random) -> tuple[bytes, bytes]:
    """A JPEG of 24 x 16 pixels with a road and a lake on grass, and its mask as a PNG."""
    image, mask = Image.new("RGB", (24, 16), (70, 150, 60)), Image.new("L", (24, 16), 0)
    x, y = draw.randint(2, 14), draw.randint(2, 9)
    shapes = [((0, y, 23, y + 2), (120, 120, 125), 1), ((x, 0, x + 7, 15), (60, 110, 200), 2)]
    for box, colour, label in shapes:
        ImageDraw.Draw(image).rectangle(box, fill=colour)
        ImageDraw.Draw(mask).rectangle(box, fill=label)
    files = []
    for picture, form in ((image, "JPEG"), (mask, "PNG")):
        out = io.BytesIO()
        picture.save(out, form)
        files.append(out.getvalue())
    return files[0], files[1]


def segmentation() -> None:
    draw = random.Random(7)
    for number in range(8):
        picture, mask = landscape(draw)
        write("segmentation", f"opt_ml/input/data/train/{number}.jpg", picture)
        write("segmentation", f"opt_ml/input/data/train/{number}.mask.png", mask)
    job("segmentation", {"max_depth": "6"})
    pictures = [landscape(draw)[0] for _ in range(2)]
    several = [{"b64": b64encode(picture).decode()} for picture in pictures]
    write("segmentation", "payloads/records.json", json.dumps({"instances": several}) + "\n")
    write("segmentation", "payloads/one.jpg", pictures[0])


MODELS = (regression, text_classifier, tagger, image_classifier, detector, segmentation, boosting)

if __name__ == "__main__":
    for make in MODELS:
        make()
