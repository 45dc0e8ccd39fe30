"""Video captioning: the frames of shapes that move in, a sentence out."""
