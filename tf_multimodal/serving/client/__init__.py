"""Asks a TensorFlow Serving server, over gRPC or REST."""
