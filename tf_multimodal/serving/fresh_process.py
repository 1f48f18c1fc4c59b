"""Answers requests from a SavedModel, as a server would, without the project.

    python -I fresh_process.py MODEL_FOLDER REQUESTS ANSWERS

A program of its own, which imports nothing of the project. The model is loaded by
TensorFlow's C++ session loader, as TensorFlow Serving does, so a Python object
that the graph forgot cannot help out. Requests and answers are JSON lines, each a
row of TensorFlow Serving's REST interface.
"""

import base64
import itertools
import json
import sys

PROJECT_MODULES = ("tf_multimodal", "keras_hub")
BATCH_ROWS = 32


def main(model_dir: str, requests: str, answers: str) -> None:
    """Reads request lines, asks the model in batches and writes answer lines."""
    # From here on an import of these is an error.
    sys.modules.update(dict.fromkeys(PROJECT_MODULES))  # type: ignore[arg-type]
    import tensorflow as tf
    import tensorflow_text  # noqa: F401  (registers the tokenizer's operations)

    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        model = tf.compat.v1.saved_model.loader.load(session, ["serve"], model_dir)
        signature = model.signature_def["serving_default"]
        image_bytes, text = (signature.inputs[k].name for k in ("image_bytes", "text"))
        outputs = {key: info.name for key, info in signature.outputs.items()}
        with open(requests, encoding="utf-8") as lines, open(answers, "w") as file:
            while batch := [json.loads(x) for x in itertools.islice(lines, BATCH_ROWS)]:
                images = [base64.b64decode(row["image_bytes"]["b64"]) for row in batch]
                texts = [row["text"].encode() for row in batch]
                answer = session.run(outputs, {image_bytes: images, text: texts})
                for row in range(len(batch)):
                    labels = [label.decode() for label in answer["labels"][row]]
                    scores = answer["scores"][row].tolist()
                    probabilities = answer["probabilities"][row].tolist()
                    line = {
                        "labels": labels,
                        "scores": scores,
                        "probabilities": probabilities,
                    }
                    file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
