"""Importing this package registers the builder with TensorFlow Datasets."""

from tf_multimodal.datasets.openclipart.builder import Openclipart as Openclipart
