"""Hugging Face folders, TensorFlow Datasets and tf.data as rows."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from tf_multimodal.data.readers.tf_dataset import TfDataset

PICTURE = tf.io.encode_png(np.full((4, 5, 3), 7, np.uint8)).numpy()


def read_all(reader, columns):
    blocks = list(reader.read_rows(columns))
    values = {c: [v for block in blocks for v in block.values[c]] for c in columns}
    rows = [row for block in blocks for row in block.rows]
    return rows, values, [p for block in blocks for p in block.problems]


@pytest.fixture(scope="module")
def hugging_face(tmp_path_factory):
    """Folders of a Dataset and of a DatasetDict."""
    import datasets

    features = datasets.Features(
        {
            "image": datasets.Image(),
            "text": datasets.Value("string"),
            "label": datasets.ClassLabel(names=["cat", "\u72ac"]),
            "labels": datasets.Sequence(datasets.ClassLabel(names=["x", "y"])),
            "captions": datasets.Sequence(datasets.Value("string")),
        }
    )
    rows = {
        "image": [{"bytes": PICTURE, "path": None}] * 3,
        "text": ["a", None, "c"],
        "label": [1, 0, -1],
        "labels": [[1], [], [0, 1]],
        "captions": [["one", "two"], [], ["three"]],
    }
    dataset = datasets.Dataset.from_dict(rows, features=features)
    folder = tmp_path_factory.mktemp("hugging_face")
    dataset.save_to_disk(folder / "one")
    splits = {"train": dataset, "test": dataset.select([2, 0])}
    datasets.DatasetDict(splits).save_to_disk(folder / "two")
    return folder


def test_a_hugging_face_data_set(hugging_face):
    from tf_multimodal.data.readers.huggingface import HuggingFaceFolder

    reader = HuggingFaceFolder(str(hugging_face / "one"))
    columns = ["image", "text", "label", "labels", "captions"]
    assert reader.list_columns() == columns
    assert reader.list_classes("label") == ("cat", "\u72ac")
    assert reader.list_classes("labels") == ("x", "y")
    assert reader.list_classes("text") is None
    rows, values, _ = read_all(reader, columns)
    assert rows == [0, 1, 2]
    assert values == {
        "image": [PICTURE] * 3,
        "text": ["a", None, "c"],
        "label": ["\u72ac", "cat", None],
        "labels": [["y"], [], ["x", "y"]],
        "captions": [["one", "two"], [], ["three"]],
    }


def test_a_hugging_face_dict_has_splits_and_chosen_rows(hugging_face):
    from tf_multimodal.data.readers.huggingface import HuggingFaceFolder

    reader = HuggingFaceFolder(str(hugging_face / "two"))
    assert reader.list_columns()[-1] == "split"
    rows, values, _ = read_all(reader, ["text", "split"])
    assert rows == [0, 1, 2, 3, 4]
    assert values["text"] == ["a", None, "c", "c", "a"]
    assert values["split"] == ["train"] * 3 + ["test"] * 2
    assert read_all(reader, ["split"])[1] == {"split": values["split"]}
    other = HuggingFaceFolder(str(hugging_face / "one"))
    assert reader.compute_fingerprint() != other.compute_fingerprint()


def test_a_folder_that_is_no_data_set_is_named(tmp_path):
    from tf_multimodal.data.readers.huggingface import HuggingFaceFolder

    with pytest.raises(ValueError, match=r"config\.data\.huggingface=.*save_to_disk"):
        HuggingFaceFolder(str(tmp_path))


@pytest.fixture(scope="module")
def make_builder(tmp_path_factory):
    """Prepares a builder of a few rows, and makes its reader."""
    import tensorflow_datasets as tfds

    from tf_multimodal.data.readers.tfds_builder import TfdsBuilder

    class FewRows(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            names = tfds.features.ClassLabel(names=["cat", "dog"])
            features = {
                "image": tfds.features.Image(
                    shape=(None, None, 3), encoding_format="jpeg"
                ),
                "text": tfds.features.Text(),
                "label": names,
                "labels": tfds.features.Sequence(names),
                "captions": tfds.features.Sequence(tfds.features.Text()),
                "meta": {"author": tfds.features.Text(), "year": np.int32},
            }
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features)
            )

        def _split_generators(self, download_manager):
            return {
                "train": self._generate_examples(3),
                "test": self._generate_examples(1),
            }

        def _generate_examples(self, count):
            for i in range(count):
                yield (
                    i,
                    {
                        "image": np.full((4, 5, 3), i, np.uint8),
                        "text": f"text {i}",
                        "label": i % 2,
                        "labels": [0, 1][:i],
                        "captions": ["\u00e9"] * i,
                        "meta": {"author": "me", "year": 2000 + i},
                    },
                )

    folder = str(tmp_path_factory.mktemp("tfds"))
    return lambda: TfdsBuilder("few_rows", "", folder)


def test_a_builder_of_tensorflow_datasets(make_builder):
    reader = make_builder()
    assert reader.name == "few_rows/1.0.0"
    columns = reader.list_columns()
    assert set(columns) == {
        "image",
        "text",
        "label",
        "labels",
        "captions",
        "meta.author",
        "meta.year",
        "split",
    }
    assert reader.list_classes("label") == ("cat", "dog")
    assert reader.list_classes("labels") == ("cat", "dog")
    assert reader.list_classes("text") is None
    rows, values, _ = read_all(reader, columns)
    assert rows == [0, 1, 2, 3]
    images = values.pop("image")
    assert all(image.startswith(b"\xff\xd8") for image in images)  # still a JPEG
    keys = [int(text.split()[1]) for text in values["text"]]
    assert sorted(keys[:3]) == [0, 1, 2] and keys[3] == 0
    assert [tf.io.decode_jpeg(i).numpy()[0, 0, 0] for i in images] == keys
    assert values == {
        "text": [f"text {i}" for i in keys],
        "label": [("cat", "dog")[i % 2] for i in keys],
        "labels": [["cat", "dog"][:i] for i in keys],
        "captions": [["\u00e9"] * i for i in keys],
        "meta.author": ["me"] * 4,
        "meta.year": [str(2000 + i) for i in keys],
        "split": ["train", "train", "train", "test"],
    }
    assert read_all(make_builder(), ["text"])[1] == {"text": values["text"]}
    assert make_builder().compute_fingerprint() == reader.compute_fingerprint()


def test_an_unknown_builder_is_named(tmp_path):
    from tf_multimodal.data.readers.tfds_builder import TfdsBuilder

    with pytest.raises(ValueError, match=r"config\.data\.tfds\.module"):
        TfdsBuilder("no_such_data", "", str(tmp_path))


def make_dataset(**columns):
    return tf.data.Dataset.from_tensor_slices(columns)


def test_elements_of_a_dataset():
    dataset = make_dataset(
        image=[PICTURE, b"BM small image"],
        text=["caf\u00e9", b"caf\xe9"],
        label=[1, 0],
        weight=[0.5, 1.0],
        captions=tf.ragged.constant([["a", "b"], []], tf.string),
    )
    reader = TfDataset(dataset, "mine", classes=["cat", "dog"])
    assert set(reader.list_columns()) == set(dataset.element_spec)
    columns = ["image", "text", "label", "weight", "captions"]
    rows, values, _ = read_all(reader, columns)
    assert rows == [0, 1]
    assert values == {
        "image": [PICTURE, b"BM small image"],
        "text": ["caf\u00e9", b"caf\xe9"],
        "label": ["dog", "cat"],
        "weight": ["0.5", "1.0"],
        "captions": [["a", "b"], []],
    }


def test_decoded_images_are_kept_without_loss_and_labels_may_be_names():
    pixels = np.random.RandomState(0).randint(0, 256, (2, 4, 5, 3), np.uint8)
    dataset = make_dataset(photo=pixels, kind=["cat", "dog"])
    reader = TfDataset(dataset, "mine", image="photo", label="kind")
    _, values, _ = read_all(reader, ["photo", "kind"])
    assert values["kind"] == ["cat", "dog"]
    decoded = [tf.io.decode_png(image) for image in values["photo"]]
    np.testing.assert_array_equal(decoded, pixels)


def test_several_labels_an_element():
    labels = tf.ragged.constant([[1, 0], []], tf.int32)
    reader = TfDataset(
        make_dataset(labels=labels), "mine", label="labels", classes=["x", "y"]
    )
    assert read_all(reader, ["labels"])[1] == {"labels": [["y", "x"], []]}


def test_a_label_without_a_name_is_a_problem():
    reader = TfDataset(make_dataset(label=[0, 2, -1]), "mine", classes=["x", "y"])
    rows, values, problems = read_all(reader, ["label"])
    assert (rows, values) == ([0, 2], {"label": ["x", None]})
    assert [(p.row, p.reason) for p in problems] == [
        (1, "label 2 is none of the 2 classes.")
    ]


@pytest.mark.parametrize(
    "dataset, message",
    [
        (make_dataset(label=[0]).repeat(), "has no end"),
        (make_dataset(image=["", ""]).batch(2), "unbatch"),
        (tf.data.Dataset.from_tensor_slices(([1], [2])), "dicts"),
    ],
)
def test_a_dataset_of_something_else_is_refused(dataset, message):
    with pytest.raises(ValueError, match=message):
        TfDataset(dataset, "mine")


def test_integer_labels_need_classes():
    with pytest.raises(ValueError, match=r"classes=\["):
        read_all(TfDataset(make_dataset(label=[0]), "mine"), ["label"])


def test_two_readers_of_a_dataset_never_count_as_the_same():
    dataset = make_dataset(label=["a"])
    fingerprints = [TfDataset(dataset, "mine").compute_fingerprint() for _ in "ab"]
    assert len(set(fingerprints)) == 2
    assert len(list(itertools.chain(*fingerprints))) == 64
