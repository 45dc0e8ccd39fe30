"""Files of weights, read without the libraries that wrote them; no code in them is run."""

from rnnfast.exchange.files.content import Content
from rnnfast.exchange.files.reader import read_file

__all__ = ["Content", "read_file"]
