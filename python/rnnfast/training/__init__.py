"""Training of character-level language models, from text files to checkpoints and samples.

In ten lines:

    from rnnfast.training import CharLM, CharLMConfig, PrintProgress, Trainer, TrainingOptions
    from rnnfast.training import Vocabulary, stdlib_text

    text = stdlib_text()
    model = CharLM(Vocabulary(text), CharLMConfig(cell="gru", hidden_size=256), seed=1)
    options = TrainingOptions(minutes=1)
    Trainer(model, text, options, output="m.safetensors", callbacks=[PrintProgress()]).run()
    print(model.sample(300, prime="def ", temperature=0.7))
"""

from rnnfast.training.batches import Streams
from rnnfast.training.callbacks import Callback, PrintProgress
from rnnfast.training.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from rnnfast.training.config import CharLMConfig
from rnnfast.training.model import CharLM
from rnnfast.training.options import OPTIMIZERS, SCHEDULES, TrainingOptions
from rnnfast.training.text import TextError, UnknownCharacterError, read_text, stdlib_text
from rnnfast.training.trainer import RESUME_OPTIONS, Trainer, TrainingError
from rnnfast.training.vocabulary import UNKNOWN_BITS, ByteVocabulary, Vocabulary

__all__ = [
    "OPTIMIZERS",
    "RESUME_OPTIONS",
    "SCHEDULES",
    "UNKNOWN_BITS",
    "ByteVocabulary",
    "Callback",
    "CharLM",
    "CharLMConfig",
    "Checkpoint",
    "CheckpointError",
    "PrintProgress",
    "Streams",
    "TextError",
    "Trainer",
    "TrainingError",
    "TrainingOptions",
    "UnknownCharacterError",
    "Vocabulary",
    "load_checkpoint",
    "read_text",
    "stdlib_text",
]
