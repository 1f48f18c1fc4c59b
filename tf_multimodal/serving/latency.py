"""The latency of a SavedModel, as `fresh_process` measures it, for a person."""

import os

# Part -> batch size -> `p50` and `p95` in milliseconds.
Latency = dict[str, dict[str, dict[str, float]]]

PARTS = {
    "whole": "serving_default: bytes and text to labels",
    "decode": "decoding, resizing and scaling the images",
    "text": "tokenizing the texts",
    "model": "the model on prepared tensors",
}


def describe_latency(latency: Latency) -> str:
    """Returns the table of p50 and p95 by part and batch size, without a newline.

    Args:
        latency: part -> batch size -> `p50` and `p95` in milliseconds; not empty.
    """
    sizes = list(next(iter(latency.values())))
    heads = "".join(f"{'batch ' + size:>18}" for size in sizes)
    lines = [f"Latency in ms, p50 / p95, on {os.cpu_count()} CPUs:", f"  {'':6}{heads}"]
    for part, meaning in PARTS.items():
        if part not in latency:  # the model does not read that modality
            continue
        cells = "".join(
            f"{values['p50']:>9.2f} /{values['p95']:>7.2f}"
            for values in latency[part].values()
        )
        lines.append(f"  {part:6}{cells}   {meaning}")
    return "\n".join(lines)
