"""What a prediction rests on: places of the image, words, either modality."""
