import base64
import hashlib
import html.parser
import json

import audit_samples
import pytest
import tensorflow as tf

from tf_multimodal.config import get_default_config
from tf_multimodal.data.audit import checkup, report

PIECES = "[PAD] [UNK] [CLS] [SEP] [MASK] a red bird cat word".split()
VOID = {"meta", "img", "br"}


class Page(html.parser.HTMLParser):
    """The text, the pictures and the links of a page; tags must close."""

    def __init__(self):
        super().__init__()
        self.text, self.pictures, self.links, self.ids, self.open = "", [], [], [], []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.pictures += [attributes["src"]] if "src" in attributes else []
        self.links += [attributes["href"]] if "href" in attributes else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data):
        if self.open[-1:] not in (["style"], ["script"]):
            self.text += data


def read_page(path):
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.text = " ".join(page.text.split())
    return page


def make_config(folder):
    (folder / "vocab.txt").write_text("\n".join(PIECES) + "\n")
    (folder / "pairs.csv").write_text("image,text,label\n")
    config = get_default_config()
    config.data.manifest = str(folder / "pairs.csv")
    config.data.max_image_px = 200_000
    config.model.text.encoder = "lstm"
    config.model.text.vocabulary = str(folder / "vocab.txt")
    config.model.text.max_tokens = 5
    return config


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("audit")
    source, _ = audit_samples.make_troubled_source(folder)
    source.texts[0] = "<script>alert('a red bird')</script>"
    source.texts[18] = "<SCRIPT>alert('a red bird')</script> "
    config = make_config(folder)
    found = checkup.audit_source(config, source)
    html_path, json_path = report.write_report(found, folder / "out", 200_000)
    return folder, source, html_path, json.loads(json_path.read_text(encoding="utf-8"))


def test_json_has_every_section(written):
    _, source, _, result = written
    assert result["source"]["rows_read"] == 21
    assert (result["source"]["rows"], result["source"]["left_out"]) == (19, 2)
    assert result["source"]["splits"] == {"train": 7, "validation": 6, "test": 6}
    assert result["source"]["fingerprint"] == source.compute_fingerprint()
    counts = {
        finding["kind"]: finding["count"]
        for section in result["findings"].values()
        for finding in section
    }
    assert counts["unusable_row"] == 2
    assert counts["undecodable_image"] == 3
    assert counts["undecodable_text"] == 1
    assert result["tokens"]["max_tokens"] == 5
    # The long text, and the two with script tags, are cut, beside longer ones.
    assert 3 <= result["tokens"]["cut"] < 19
    assert result["image_groups"]["groups_across_splits"] == 1
    assert "indices" not in result["image_groups"]["listed"][0]
    assert result["label_leak"]["rows"] == 16


def test_rows_that_were_left_out_are_counted_by_kind_of_reason(written):
    (finding,) = written[3]["findings"]["rows"]
    assert finding["title"] == "Rows left out: received …, expected a split."
    assert [row["id"] for row in finding["rows"]] == ["x1", "x2"]
    assert finding["rows"][1]["note"] == "received 'trian', expected a split."


def test_source_files_have_size_and_checksum(written):
    (file,) = written[3]["source"]["files"]
    assert file["bytes"] == len("image,text,label\n")
    assert file["sha256"] == hashlib.sha256(b"image,text,label\n").hexdigest()


def test_page_is_well_formed_and_needs_no_other_file(written):
    page = read_page(written[2])
    assert not page.open
    assert page.pictures
    assert all(p.startswith("data:image/jpeg;base64,") for p in page.pictures)
    assert page.links
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    style = written[2].read_text(encoding="utf-8")
    assert "prefers-color-scheme: dark" in style
    assert "url(" not in style and "http" not in style


def test_page_shows_findings_and_near_duplicates_side_by_side(written):
    page = read_page(written[2])
    assert "Images that do not decode" in page.text
    assert "1 groups cross splits" in page.text
    text = written[2].read_text(encoding="utf-8")
    group = text[text.index('<div class="group across">') :]
    group = group[: group.index("</div></div>")]
    assert group.count("<img ") == 3
    assert [group.count(f"<b>{name}</b>") for name in audit_samples.SPLITS] == [1] * 3


def test_texts_of_others_are_not_markup(written):
    text = written[2].read_text(encoding="utf-8")
    assert "<script" not in text.lower()
    assert "&lt;script&gt;" in text


def test_pictures_are_small_and_right(written):
    _, source, _, _ = written
    wide = 10  # 240 x 40 px
    (picture,) = report.make_thumbnails(source, [wide], 200_000).values()
    encoded = base64.b64decode(picture.partition(",")[2])
    pixels = tf.io.decode_jpeg(encoded)
    assert pixels.shape == (24, 144, 3)
    expected = tf.image.resize(
        tf.io.decode_image(source.images[wide]), (24, 144), method="area"
    )
    error = tf.abs(tf.cast(pixels, tf.float32) - expected)
    assert float(tf.reduce_mean(error)) < 20


def test_bad_images_have_no_picture(written):
    _, source, _, _ = written
    assert report.make_thumbnails(source, [4, 5, 6, 7, 8], 200_000) == {}


def test_same_data_give_the_same_files(written, tmp_path):
    folder, source, html_path, _ = written
    found = checkup.audit_source(make_config(folder), source)
    again, json_path = report.write_report(found, tmp_path, 200_000)
    assert again.read_bytes() == html_path.read_bytes()
    assert json_path.read_bytes() == (folder / "out" / "audit.json").read_bytes()


def test_tokenizer_that_cannot_be_had_does_not_end_the_audit(tmp_path, capsys):
    config = make_config(tmp_path)
    config.model.text.vocabulary = ""
    source = audit_samples.make_source([""] * 4, ["a bird"] * 4)
    found = checkup.audit_source(config, source)
    assert "no vocabulary" in found.summary["tokens"]["reason"]
    assert "Warning: tokens are not counted" in capsys.readouterr().err
    page_path, _ = report.write_report(found, tmp_path / "out")
    assert "Tokens were not counted" in read_page(page_path).text


def test_empty_texts_and_images_make_a_page(tmp_path):
    config = make_config(tmp_path)
    config.model.modalities = "image"
    source = audit_samples.make_source([""], [""], labels=[-1])
    found = checkup.audit_source(config, source)
    page_path, _ = report.write_report(found, tmp_path / "out")
    assert "unknown texts with their class name" in read_page(page_path).text
