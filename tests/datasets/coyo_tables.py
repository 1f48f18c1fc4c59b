"""Parquet files with the columns of COYO-700M and COYO-Labeled-300M."""

import pyarrow as pa
import pyarrow.parquet as pq

# As the data card lists them: https://huggingface.co/datasets/kakaobrain/coyo-700m
METADATA = pa.schema(
    {
        "id": pa.int64(),
        "url": pa.string(),
        "text": pa.string(),
        "width": pa.int32(),
        "height": pa.int32(),
        "image_phash": pa.string(),
        "text_length": pa.int32(),
        "word_count": pa.int32(),
        "num_tokens_bert": pa.int32(),
        "num_tokens_gpt": pa.int32(),
        "num_faces": pa.int32(),
        "clip_similarity_vitb32": pa.float32(),
        "clip_similarity_vitl14": pa.float32(),
        "nsfw_score_opennsfw2": pa.float32(),
        "nsfw_score_gantman": pa.float32(),
        "watermark_score": pa.float32(),
        "aesthetic_score_laion_v2": pa.float32(),
    }
)
LABELS = pa.schema(
    {
        "id": pa.int64(),
        "url": pa.string(),
        "imagehash": pa.string(),
        "labels": pa.list_(pa.int32()),
        "label_probs": pa.list_(pa.float32()),
        "width": pa.int32(),
        "height": pa.int32(),
    }
)


def make_row(number, text="a picture", **values):
    """A row of the metadata that passes every usual condition."""
    scores = {
        name: 0.0 if name.startswith(("nsfw", "watermark")) else 0.4
        for name, kind in zip(METADATA.names, METADATA.types, strict=True)
        if kind == pa.float32()
    }
    return {
        "id": number,
        "url": f"http://host{number % 3}.example/{number}.jpg",
        "text": text,
        "width": 400,
        "height": 300,
        "image_phash": f"{number * 0x9E3779B97F4A7C15 % 2**64:016x}",
        "text_length": len(text or ""),
        "word_count": len((text or "").split()),
        "num_tokens_bert": 5,
        "num_tokens_gpt": 5,
        "num_faces": 0,
        **scores,
        **values,
    }


def make_label_row(number, probs):
    """A row of COYO-Labeled; `probs` by label id."""
    row = make_row(number)
    return {
        "id": number,
        "url": row["url"],
        "imagehash": row["image_phash"],
        "labels": list(probs),
        "label_probs": list(probs.values()),
        "width": row["width"],
        "height": row["height"],
    }


def write_table(path, rows, schema=METADATA, row_group_size=7):
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(rows, schema=schema)
    pq.write_table(table, path, row_group_size=row_group_size, compression="snappy")
