import pathlib

import numpy as np
import pytest
import tensorflow as tf

from tf_multimodal.data.ingest import KeyNames
from tf_multimodal.data.manifest import read_manifest

COLUMNS = {"image": "file", "text": "caption", "label": "kind"}


def write_images(folder, count):
    (folder / "images").mkdir(exist_ok=True)
    for number in range(count):
        pixels = np.random.RandomState(number).randint(0, 256, (4, 4, 3), np.uint8)
        data = tf.io.encode_png(pixels.repeat(8, 0).repeat(8, 1)).numpy()
        (folder / "images" / f"{number}.png").write_bytes(data)


def write(folder, lines, name="pairs.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes("\n".join(lines).encode(encoding) + b"\n")
    return path


def write_pairs(folder, count):
    rows = [
        f"images/{i}.png,text {i},{'cat' if i % 2 else 'dog'}" for i in range(count)
    ]
    return write(folder, ["file,caption,kind", *rows])


def read_error(path, columns=COLUMNS, **kwargs):
    with pytest.raises(ValueError) as error:
        read_manifest(path, columns, **kwargs)
    return str(error.value)


def test_rows_are_read_as_written(tmp_path):
    write_images(tmp_path, 1)
    lines = [
        "kind,file,note,caption,no",
        'dog,images/0.png,x,"two ""quoted""\nlines, and a comma",a',
        "",
        " cat ,images/gone.png,x,,b",
        "dog,,x,Ünï 猫,c",
        "cat,,,,d",
    ]
    path = write(tmp_path, lines, encoding="utf-8-sig")
    source = read_manifest(path, COLUMNS | {"id": "no", "weight": ""})
    assert source.name == "pairs.csv" and source.classes == ("cat", "dog")
    assert list(source.labels) == [1, 0, 1, 0]
    assert list(source.texts) == ['two "quoted"\nlines, and a comma', "", "Ünï 猫", ""]
    root = tmp_path.resolve()
    images = [str(root / "images/0.png"), str(root / "images/gone.png"), b"", b""]
    assert list(source.images) == images
    assert list(source.files) == ["images/0.png", "images/gone.png", "", ""]
    assert list(source.rows) == [2, 5, 6, 7]  # lines of the file
    assert list(source.ids) == ["a", "b", "c", "d"]
    assert list(source.weights) == [1.0] * 4
    assert source.labels.dtype == np.int32 and source.weights.dtype == np.float32


def test_tab_separated(tmp_path):
    lines = ["caption\tkind", "a, b\tdog", "c\tcat"]
    path = write(tmp_path, lines, "pairs.TSV")
    source = read_manifest(path, {"image": "", "text": "caption", "label": "kind"})
    assert list(source.texts) == ["a, b", "c"] and list(source.ids) == ["2", "3"]


def test_split_and_weight_columns(tmp_path, capsys):
    write_images(tmp_path, 4)
    parts = ["train", "VAL", "test", "dev", "valid", "validation"]
    texts = ["One  cat", "b", "one cat", "d", "e", "f"]
    rows = [
        f"images/{i}.png,{texts[i]},{'xy'[i % 2]},{part},{i / 2}"
        for i, part in enumerate(parts)
    ]
    path = write(tmp_path, ["file,caption,kind,part,w", *rows])
    source = read_manifest(path, COLUMNS | {"split": "part", "weight": "w"})
    validation = ["validation"] * 3
    assert list(source.splits) == ["train", "validation", "test", *validation]
    assert list(source.weights) == [0, 0.5, 1, 1.5, 2, 2.5]
    assert source.groups[0] == source.groups[2] != source.groups[1]
    printed = capsys.readouterr().out
    assert "1 groups of near-duplicates" in printed
    assert "2 (train), 4 (test)" in printed


def test_without_a_split_column_groups_stay_whole(tmp_path):
    write_images(tmp_path, 30)
    rows = []
    for number in range(30):  # each image twice, under different texts
        for copy in range(2):
            kind = "cat" if number % 2 else "dog"
            rows.append(f"images/{number}.png,text {number} {copy},{kind}")
    path = write(tmp_path, ["file,caption,kind", *rows])
    source = read_manifest(path, COLUMNS, split_fractions=(0.6, 0.2, 0.2))
    groups = source.groups[:]
    assert len(set(groups)) == 30
    for group in set(groups):
        assert len(set(source.splits[groups == group])) == 1
    sizes = [len(source.get_indices(s)) for s in ("train", "validation", "test")]
    assert sizes == [36, 12, 12]
    again = read_manifest(path, COLUMNS, split_fractions=(0.6, 0.2, 0.2))
    np.testing.assert_array_equal(source.splits, again.splits)


def test_given_classes_keep_their_order(tmp_path):
    path = write_pairs(tmp_path, 3)
    source = read_manifest(path, COLUMNS, classes=("fish", "dog", "cat"))
    assert list(source.labels) == [1, 2, 1]
    message = read_error(path, classes=("fish", "dogs"))
    assert "row 2" in message and "'dog'" in message and "closest: 'dogs'" in message


def test_without_labels_only_images_texts_and_ids_are_needed(tmp_path):
    path = write(tmp_path, ["file,caption", "x.png,a", ",b"])
    columns = COLUMNS | {"split": "part", "weight": "w", "id": "no"}
    options = {"require_labels": False, "optional": ("id",)}
    source = read_manifest(path, columns, ("a", "b"), **options)
    assert list(source.labels) == [-1, -1] and list(source.ids) == ["2", "3"]
    assert source.classes == ("a", "b")
    path = write(tmp_path, ["file,caption,no", "x.png,a,first"])
    source = read_manifest(path, columns, ("a", "b"), **options)
    assert list(source.ids) == ["first"]


def test_a_column_that_is_not_there(tmp_path):
    path = write(tmp_path, ["file,caption,label", "a.png,b,c"])
    message = read_error(path)
    for part in (str(path), "'kind'", "config.data.columns.label", "'file', 'caption'"):
        assert part in message
    message = read_error(path, {"image": "", "text": "", "label": "label"})
    assert "config.data.columns.image or config.data.columns.text" in message
    message = read_error(path, {"image": "file", "text": "", "label": ""})
    assert "config.data.columns.label must name" in message


def test_columns_that_may_be_missing_and_settings_of_other_names(tmp_path):
    path = write(tmp_path, ["file", "a.png"])
    names = KeyNames("--manifest", "--{role}_column")
    options = {"require_labels": False, "names": names}
    message = read_error(path, **options)
    assert "'caption' for the text" in message and "Set --text_column to" in message
    assert "config." not in message
    source = read_manifest(path, COLUMNS, optional=("text",), **options)
    assert list(source.files) == ["a.png"] and list(source.texts) == [""]
    message = read_error(path, {"text": "file"}, optional=("text",), **options)
    assert "set --image_column to a column" in message


def test_a_manifest_that_is_not_there_names_what_chose_it(tmp_path):
    path = tmp_path / "none.csv"
    with pytest.raises(FileNotFoundError, match="none.csv, which config.data.manifest"):
        read_manifest(path, COLUMNS)
    with pytest.raises(FileNotFoundError, match="which --manifest names.*CSV, TSV"):
        read_manifest(path, COLUMNS, names=KeyNames("--manifest", "--{role}_column"))


def test_the_same_column_twice(tmp_path):
    path = write(tmp_path, ["file,caption,kind,caption", "a.png,b,c,d"])
    assert "Twice in the header: 'caption'" in read_error(path)


@pytest.mark.parametrize(
    "cell", ["../x.png", "/etc/passwd", "images/../../x.png", "a\0.png", "file:///x"]
)
def test_images_outside_of_the_folder_are_refused(tmp_path, cell):
    folder = tmp_path / "data"
    folder.mkdir()
    path = write(folder, ["file,caption,kind", "ok/../a.png,b,dog", f"{cell},b,cat"])
    message = read_error(path)
    assert "row 3, column 'file'" in message and "folder" in message
    assert repr(cell) in message and "row 2" not in message


@pytest.mark.parametrize(
    ("line", "column", "message"),
    [
        ("a.png,b,,train,1,x", "kind", "empty label"),
        ("a.png,b,cat,training,1,x", "part", "received 'training', expected one of"),
        ("a.png,b,cat,train,-1,x", "w", "received '-1', expected a number"),
        ("a.png,b,cat,train,nan,x", "w", "received 'nan', expected a number"),
        ("a.png,b,cat,train,inf,x", "w", "received 'inf', expected a number"),
        ("a.png,b,cat,train,much,x", "w", "received 'much', expected a number"),
        ("a.png,b,cat,train,1,", "no", "empty id"),
        ("a.png,b,cat,train,1,first", "no", "'first', which row 2 has too"),
    ],
)
def test_bad_cells_name_file_row_and_column(tmp_path, line, column, message):
    lines = ["file,caption,kind,part,w,no", "a.png,b,dog,train,1,first", line]
    path = write(tmp_path, lines)
    columns = COLUMNS | {"split": "part", "weight": "w", "id": "no"}
    error = read_error(path, columns)
    assert str(path) in error and f"row 3, column '{column}'" in error
    assert message in error


def test_many_problems_are_counted(tmp_path):
    path = write(tmp_path, ["file,caption,kind", *["a.png,b,"] * 9])
    message = read_error(path)
    assert message.count("empty label") == 5 and "and 4 more" in message


def test_tables_that_are_not_well_formed(tmp_path):
    path = write(tmp_path, ["file,caption,kind", "a.png,one, two,dog"])
    message = read_error(path)
    assert "row 2" in message and "4 cells, expected 3" in message
    path = write(tmp_path, ["file,caption,kind", 'a.png,"open,dog', "b.png,c,cat"])
    assert "quotation mark" in read_error(path)
    assert "no rows" in read_error(write(tmp_path, ["file,caption,kind"]))
    path = write(tmp_path, ["file,caption,kind", "a,b,c", "a,b,c"])
    assert "at least 2 classes" in read_error(path)


def test_a_link_out_of_the_folder_is_refused_when_it_is_read(tmp_path):
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(b"secret")
    (folder / "link").symlink_to(tmp_path)
    (folder / "images/alias.png").symlink_to(tmp_path / "secret.png")
    cells = ["link/secret.png", "images/alias.png"]
    rows = [f"{cell},{cell},{'ab'[i]}" for i, cell in enumerate(cells)]
    source = read_manifest(write(folder, ["file,caption,kind", *rows]), COLUMNS)
    for image in source.images:
        assert not pathlib.Path(image).exists()
        assert "leads out of the data's folder" in image.reason


def test_bytes_that_are_not_utf8_stay_as_they_are(tmp_path):
    """Whoever reads the row names it; nothing is replaced in silence."""
    path = write(tmp_path, ["file,caption,kind", "a.png,b,dog", "a.png,c,cat"])
    path.write_bytes(path.read_bytes().replace(b",c,", b",caf\xe9,"))
    assert list(read_manifest(path, COLUMNS).texts) == ["b", b"caf\xe9"]
    path.write_bytes(path.read_bytes().replace(b"cat", b"c\xe4t"))
    message = read_error(path)
    assert "row 3, column 'kind'" in message and "not UTF-8" in message


def test_another_encoding_names_the_line(tmp_path):
    lines = ["file,caption,kind", "a.png,b,dog", "a.png,c,cat"]
    message = read_error(write(tmp_path, lines, encoding="utf-16"))
    assert "line 1" in message and "Save the file as UTF-8" in message
    assert "iconv -f UTF-16 " in message
    assert "UTF-16" in read_error(write(tmp_path, lines, encoding="utf-16-be"))
    path = write(tmp_path, ["file,caption,k\u00efnd"], encoding="cp1252")
    assert "iconv -f WINDOWS-1252 " in read_error(path)


def test_an_empty_file_and_other_separators_are_named(tmp_path):
    for name in ("pairs.csv", "pairs.jsonl"):
        (tmp_path / name).write_bytes(b"")
        assert "empty" in read_error(tmp_path / name)
    message = read_error(write(tmp_path, ["file;caption;kind", "a.png;b;dog"]))
    assert "'file;caption;kind'" in message and "commas" in message
