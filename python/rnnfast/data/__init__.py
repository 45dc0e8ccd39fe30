"""Data as batches: windows of series, buckets of sequences, streams of documents and large files.

What gives batches here can be iterated over again and again, has a length (batches a pass) and
keeps its position: `rnnfast.training.Trainer` goes on with it bit by bit.
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
