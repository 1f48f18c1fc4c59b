"""The demo's page: what is on it, and what it asks the model.

An image that cannot be used is named and masked, as in `predict`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from tf_multimodal.data import spec
from tf_multimodal.data.source import Source
from tf_multimodal.inference.attributions.explanation import Explanation, explain_rows
from tf_multimodal.inference.attributions.picture import make_overlay
from tf_multimodal.inference.demo.examples import Example
from tf_multimodal.inference.predictor import Predictor, make_source

_SHOWN_CLASSES = 8
_PREDICTED = -1  # explain whichever class is the most probable
_MAX_UPLOAD = "50mb"
# Fonts of the reader's machine: gradio's own may come from elsewhere.
_FONTS = ("system-ui", "sans-serif")
_MONOSPACE_FONTS = ("ui-monospace", "monospace")
# A network's image is small.
_STYLE = "#overlay img { width: 100%; height: 100%; object-fit: contain; }"
_TASKS = {
    "image": "Drop an image.",
    "text": "Type a text, change it, and see the answer move.",
    "image_text": "Drop an image, type its text, or give one of them alone; change the "
    "text and see the answer move.",
}

Answer = tuple[
    dict[str, float] | None,
    str,
    np.ndarray | None,
    list[tuple[str, float]],
    dict[str, float] | None,
]


def make_page(predictor: Predictor, examples: Sequence[Example] = ()) -> gr.Blocks:
    """Returns the page of a run.

    Args:
        predictor: of the run.
        examples: pairs to click on.
    """
    modalities = predictor.preprocessor.modalities
    reads_images, reads_texts = "image" in modalities, "text" in modalities
    title = f"Try {predictor.run_dir.resolve().name}"
    targets = [("the most probable class", _PREDICTED)]
    targets += [(name, number) for number, name in enumerate(predictor.classes)]
    with gr.Blocks(title=title, analytics_enabled=False) as page:
        gr.Markdown(f"# {title}\n{_TASKS[modalities]}")
        with gr.Row():
            with gr.Column():
                image = gr.Image(
                    label="Image",
                    sources=["upload", "clipboard"],
                    buttons=[],
                    height=300,
                    visible=reads_images,
                    elem_id="image",
                )
                text = gr.Textbox(
                    label="Text", lines=3, visible=reads_texts, elem_id="text"
                )
                message = gr.Markdown(elem_id="message")
                classes = gr.Label(
                    label="Classes",
                    num_top_classes=_SHOWN_CLASSES,
                    show_heading=not predictor.model.multi_label,
                    elem_id="classes",
                )
            with gr.Column():
                target = gr.Dropdown(
                    targets, value=_PREDICTED, label="Explain", elem_id="target"
                )
                overlay = gr.Image(
                    label="Where the image speaks for it (Grad-CAM)",
                    interactive=False,
                    buttons=["fullscreen"],
                    height=300,
                    visible=reads_images,
                    elem_id="overlay",
                )
                words = gr.HighlightedText(
                    label="Words for it and against it, the strongest as ±1",
                    show_legend=True,
                    visible=reads_texts,
                    elem_id="words",
                )
                shares = gr.Label(
                    label="Share of each modality in the answer",
                    show_heading=False,
                    visible=reads_images and reads_texts,
                    elem_id="shares",
                )
        if examples:
            _add_examples(examples, image, text, modalities)
        gr.on(
            [image.change, text.change, target.change],
            Answers(predictor).answer,
            [image, text, target],
            [classes, message, overlay, words, shares],
            # Of what is typed while the model is busy the latest alone is answered.
            trigger_mode="always_last",
            concurrency_limit=1,
            show_progress="minimal",
            show_progress_on=overlay if reads_images else words,
            # Else gradio decodes the image, and refuses one that it cannot read.
            preprocess=False,
            api_visibility="private",
        )
    return page


def open_page(page: gr.Blocks, host: str, port: int) -> None:
    """Starts to serve a page, and returns.

    Raises:
        OSError: the port is taken.
    """
    page.launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=True,
        share=False,
        quiet=True,
        show_error=True,
        footer_links=[],
        max_file_size=_MAX_UPLOAD,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        theme=gr.themes.Default(font=_FONTS, font_mono=_MONOSPACE_FONTS),
        css=_STYLE,
    )


class Answers:
    """What the page asks the model.

    Args:
        predictor: of the run.
    """

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def answer(
        self, image: dict[str, Any] | None, text: str | None, target: int
    ) -> Answer:
        """Returns what the page shows of a pair.

        Args:
            image: gradio's description of an uploaded file; None: no image.
            text: the text; None or blank: no text.
            target: the class to explain; -1: the most probable one.

        Returns:
            The probability of each class, None where there is nothing to go by; what
            is wrong with the pair; the image with its heat map, uint8 [s, s, 3]; the
            words' scores; the share of each modality.
        """
        source = self._make_source(image, text)
        if source is None:
            return None, "", None, [], None
        targets = None if target == _PREDICTED else [target]
        (found,) = explain_rows(self._predictor, source, [0], targets)
        if found.image_share is None or found.text_share is None:
            return None, found.reason, None, [], None
        classes = dict(
            zip(self._predictor.classes, found.probabilities.tolist(), strict=True)
        )
        message = found.reason
        if found.status != spec.OK:
            message += " The answer rests on what is left."
        overlay = None
        if found.picture is not None and found.heat_map is not None:
            overlay = make_overlay(found.picture, found.heat_map)
        shares = {"image": found.image_share, "text": found.text_share}
        return classes, message, overlay, _scale_words(found), shares

    def _make_source(
        self, image: dict[str, Any] | None, text: str | None
    ) -> Source | None:
        """Returns the pair as a source; None: there is nothing yet."""
        content = Path(image["path"]).read_bytes() if image else None
        if content is None and not (text or "").strip():
            return None
        return make_source([content], [text], self._predictor.classes)


def _add_examples(
    examples: Sequence[Example], image: Any, text: Any, modalities: str
) -> None:
    """Adds pairs to click on."""
    columns = {"image": image, "text": text}
    read = modalities.split("_")
    gr.Examples(
        [[getattr(example, name) for name in read] for example in examples],
        [columns[name] for name in read],
        examples_per_page=len(examples),
        label="Of the run's test split",
        cache_examples=False,
        elem_id="examples",
    )


def _scale_words(explanation: Explanation) -> list[tuple[str, float]]:
    """Returns words with scores -1 to 1, the strongest at one of the ends."""
    strongest = max((abs(word.score) for word in explanation.words), default=0.0)
    scale = 1 / strongest if strongest else 0.0
    return [(f"{word.text} ", word.score * scale) for word in explanation.words]
