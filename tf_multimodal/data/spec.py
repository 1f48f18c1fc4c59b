"""Keys, shapes and dtypes of what flows from the data to the model."""

import dataclasses

# What a model reads. `b` rows, `t` tokens, `s` pixels a side.
IMAGES = "images"  # float32 [b, s, s, 3], scaled by the preset's image converter
HAS_IMAGE = "has_image"  # bool [b]; False: the learned embedding takes its place
TOKEN_IDS = "token_ids"  # int32 [b, t], right-padded
PADDING_MASK = "padding_mask"  # int32 [b, t]; 1: a token, 0: padding
SEGMENT_IDS = "segment_ids"  # int32 [b, t], all 0
HAS_TEXT = "has_text"  # bool [b]; False: the learned embedding takes its place

IMAGE_KEYS = (IMAGES, HAS_IMAGE)
TEXT_KEYS = (TOKEN_IDS, PADDING_MASK, SEGMENT_IDS, HAS_TEXT)

# What an evaluation batch holds beside the inputs.
INPUTS = "inputs"  # the dict above
INDEX = "index"  # int64 [b], row of the source; -1: padding of the last batch
STATUS = "status"  # int32 [b], position in STATUSES; rows of padding: missing_input

SPLITS = ("train", "validation", "test")

# What became of a row. Where several hold, an image's comes before a text's, and
# both before `missing_input`.
OK = "ok"
MISSING_INPUT = "missing_input"  # neither an image nor a text
UNREADABLE_IMAGE = "unreadable_image"  # the file is missing or cannot be read
UNDECODABLE_IMAGE = "undecodable_image"
IMAGE_TOO_LARGE = "image_too_large"  # more pixels than the limit, by its header
UNDECODABLE_TEXT = "undecodable_text"  # not UTF-8
STATUSES = (
    OK,
    MISSING_INPUT,
    UNREADABLE_IMAGE,
    UNDECODABLE_IMAGE,
    IMAGE_TOO_LARGE,
    UNDECODABLE_TEXT,
)
STATUS_CODES = {name: code for code, name in enumerate(STATUSES)}

# A row that the source's reader left out: a cell that cannot be used, or a row that
# cannot be read. It never reaches a model, so that it has no code.
UNUSABLE_ROW = "unusable_row"

THRESHOLD = 0.5  # multi-label: a class of this probability or more is predicted
MAX_IMAGE_PX = 50_000_000  # width times height; the default limit


@dataclasses.dataclass(frozen=True)
class TensorSpec:
    """Shape (None: any size) and dtype of one tensor."""

    shape: tuple[int | None, ...]
    dtype: str


def make_input_spec(
    modalities: str,
    image_size_px: int,
    max_tokens: int,
    batch_size: int | None = None,
) -> dict[str, TensorSpec]:
    """Returns the spec of a model's inputs by key.

    Args:
        modalities: `image`, `text` or `image_text`.
        image_size_px: side of the square image in pixels.
        max_tokens: tokens of a text, padding included.
        batch_size: rows of a batch, or None for any number.
    """
    spec = {}
    if modalities in ("image", "image_text"):
        shape = (batch_size, image_size_px, image_size_px, 3)
        spec[IMAGES] = TensorSpec(shape, "float32")
        spec[HAS_IMAGE] = TensorSpec((batch_size,), "bool")
    if modalities in ("text", "image_text"):
        for key in (TOKEN_IDS, PADDING_MASK, SEGMENT_IDS):
            spec[key] = TensorSpec((batch_size, max_tokens), "int32")
        spec[HAS_TEXT] = TensorSpec((batch_size,), "bool")
    return spec
