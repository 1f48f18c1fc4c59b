"""The file of label,class."""

import pytest

from tf_multimodal.data.class_map import ClassMap


@pytest.fixture
def make_map(tmp_path):
    def make(text, encoding="utf-8") -> ClassMap:
        path = tmp_path / "classes.csv"
        path.write_bytes(text.encode(encoding))
        return ClassMap(str(path))

    return make


def test_labels_of_any_script_get_a_class_in_the_order_of_the_file(make_map):
    classes = make_map(
        "label,class\n chat ,猫\nkatze,猫\nrana,\nपक्षी,पक्षी\n\nchat,猫\n", "utf-8-sig"
    )
    assert classes.classes == ("猫", "पक्षी")
    assert [classes.get_class(n) for n in ("chat", "katze", "पक्षी")] == [
        *("猫", "猫", "पक्षी"),
    ]
    assert classes.get_class("rana") == ""
    with pytest.raises(ValueError, match="'chats'.*classes.csv.*closest: 'chat'"):
        classes.get_class("chats")


@pytest.mark.parametrize(
    ("text", "encoding", "message"),
    [
        ("name,class\na,b\n", "utf-8", "header label,class.*name,class"),
        ("label,class\na,b,c\n", "utf-8", "line 2.*'a,b,c'"),
        ("label,class\n,b\n", "utf-8", "line 2: expected a label"),
        ("label,class\na,b\na,c\n", "utf-8", "line 3.*'a' has the class 'b'.*'c'"),
        ("label,class\na,é\n", "latin-1", "line 2: not UTF-8"),
        ('label,class\na,"b\n', "utf-8", "line 2"),
    ],
)
def test_what_is_no_such_file_is_named(make_map, text, encoding, message):
    with pytest.raises(ValueError, match=message):
        make_map(text, encoding)


def test_a_file_that_is_not_there():
    with pytest.raises(FileNotFoundError, match="gone.csv.*config.data.class_map"):
        ClassMap("gone.csv")
