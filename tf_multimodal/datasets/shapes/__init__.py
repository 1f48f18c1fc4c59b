"""Importing this package registers the builder with TensorFlow Datasets."""

from tf_multimodal.datasets.shapes.builder import Shapes as Shapes
