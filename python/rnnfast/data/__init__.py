"""Batches of data: windows of series, buckets of sequences, streams of documents and large files.

The iterables of batches can be iterated over repeatedly, have a length (the batches of a pass) and
save their position, so that `rnnfast.training.Trainer` can resume a run with the same bits.
"""

from rnnfast.data.arrays import ArrayBatches, batches
from rnnfast.data.buckets import BucketBatches, PaddedBatch, bucket_batches
from rnnfast.data.documents import DocumentBatch, DocumentStreams, reset_state
from rnnfast.data.passes import Passes
from rnnfast.data.text_file import FileStreams, StreamBatch, TextFile
from rnnfast.data.windows import windows

__all__ = [
    "ArrayBatches",
    "BucketBatches",
    "DocumentBatch",
    "DocumentStreams",
    "FileStreams",
    "PaddedBatch",
    "Passes",
    "StreamBatch",
    "TextFile",
    "batches",
    "bucket_batches",
    "reset_state",
    "windows",
]
