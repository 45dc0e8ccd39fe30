"""DRAW: a recurrent network that draws an image step by step."""
