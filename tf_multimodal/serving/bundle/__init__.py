"""What an operator needs around a SavedModel to serve it with TensorFlow Serving."""
