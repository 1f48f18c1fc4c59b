"""Texts made of several columns."""

import pytest

from tf_multimodal.data import captions


def test_a_template_joins_columns():
    template = "{title}. {body} ({{x}})"
    assert captions.list_template_columns(template) == ["title", "body"]
    fill = captions.fill_template
    assert fill(template, {"title": "A", "body": "b"}) == "A. b ({x})"
    assert fill(template, {"title": "A", "body": None}) == "A.  ({x})"
    assert fill(template, {"title": " ", "body": None}) == ""  # no text at all
    assert fill("{title} {body}", {"title": "猫", "body": ""}) == "猫"
    assert fill("{title} {body}", {"title": "é", "body": b"\xff"}) == b"\xc3\xa9 \xff"
    with pytest.raises(ValueError, match="list of texts in 'body'"):
        fill(template, {"title": "A", "body": ["b"]})


@pytest.mark.parametrize("template", ["{", "no column", "{}", "{title} {"])
def test_a_template_that_is_none(template):
    with pytest.raises(ValueError, match="config.data.text_template"):
        captions.list_template_columns(template)


@pytest.mark.parametrize("part", ["title:>40", "alt!r"])
def test_a_cell_is_put_into_a_template_as_it_is(part):
    end = part.lstrip("abcdefghijklmnopqrstuvwxyz")
    with pytest.raises(ValueError, match=f"Take '{end}' out of the braces") as error:
        captions.list_template_columns(f"x {{{part}}}")
    assert f"{{{part}}}" in str(error.value)


def test_captions_are_columns_or_the_list_of_one():
    assert captions.list_captions({"a": "x", "b": None}) == ["x", ""]
    assert captions.list_captions({"a": ["x", None, "y"]}) == ["x", "", "y"]
    assert captions.list_captions({"a": None}) == [""]
    for cells in ({"a": ["x"], "b": "y"}, {"a": ["x", ["y"]]}):
        with pytest.raises(ValueError, match="received a list of texts"):
            captions.list_captions(cells)
