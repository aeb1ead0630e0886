"""Train the tree once, in a contender's image, for all: `python train.py FOLDER`.

Leaves the artifact (model/model.joblib), the rows that payloads are made of and what the tree says of each
(rows.json). Every image has the same scikit-learn, so every contender loads the same file.
"""

import json
import sys
from pathlib import Path

import joblib
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier

folder = Path(sys.argv[1])
(folder / "model").mkdir(exist_ok=True)
x, y = load_iris(return_X_y=True)
tree = DecisionTreeClassifier(random_state=0).fit(x, y)
joblib.dump(tree, folder / "model" / "model.joblib")
answers = {"rows": x.tolist(), "labels": tree.predict(x).tolist()}
(folder / "rows.json").write_text(json.dumps(answers))
