"""Training: `Trainer` for any model, and language models from text files to samples.

A complete run:

    from rnnfast.training import CharLM, CharLMConfig, CharLMTrainer, TrainingOptions
    from rnnfast.training import PrintProgress, Vocabulary, stdlib_text

    text = stdlib_text()
    model = CharLM(Vocabulary(text), CharLMConfig(cell="gru", hidden_size=256), seed=1)
    options = TrainingOptions(minutes=1)
    progress = [PrintProgress()]
    CharLMTrainer(model, text, options, output="m.safetensors", callbacks=progress).run()
    print(model.sample(300, prime="def ", temperature=0.7))
"""

from rnnfast.training.batches import Streams
from rnnfast.training.best import BestCheckpoints
from rnnfast.training.callbacks import Callback, PrintProgress
from rnnfast.training.carried import CarriedState
from rnnfast.training.char_lm_trainer import CharLMTrainer
from rnnfast.training.checkpoint import Checkpoint, CheckpointError, load_checkpoint
from rnnfast.training.config import CharLMConfig
from rnnfast.training.config_file import ConfigError, RunConfig, read_config
from rnnfast.training.csv_log import CSVLog
from rnnfast.training.divergence import TrainingError
from rnnfast.training.early_stopping import EarlyStopping
from rnnfast.training.history import History, Record
from rnnfast.training.job import JobOptions
from rnnfast.training.live_curve import LiveCurve
from rnnfast.training.model import CharLM
from rnnfast.training.options import OPTIMIZERS, SCHEDULES, RunOptions, TrainingOptions
from rnnfast.training.progress import LiveProgress, NotebookProgress, progress
from rnnfast.training.run_file import StoredRun, read_run
from rnnfast.training.run_state import RESUME_OPTIONS
from rnnfast.training.source import BatchSource
from rnnfast.training.tensorboard_log import TensorBoardLog
from rnnfast.training.text import TextError, UnknownCharacterError, read_text, stdlib_text
from rnnfast.training.tokens import TokenVocabulary
from rnnfast.training.trainer import Trainer
from rnnfast.training.vocabulary import UNKNOWN_BITS, ByteVocabulary, Vocabulary

__all__ = [
    "OPTIMIZERS",
    "RESUME_OPTIONS",
    "SCHEDULES",
    "UNKNOWN_BITS",
    "BatchSource",
    "BestCheckpoints",
    "ByteVocabulary",
    "CSVLog",
    "Callback",
    "CarriedState",
    "CharLM",
    "CharLMConfig",
    "CharLMTrainer",
    "Checkpoint",
    "CheckpointError",
    "ConfigError",
    "EarlyStopping",
    "History",
    "JobOptions",
    "LiveCurve",
    "LiveProgress",
    "NotebookProgress",
    "PrintProgress",
    "Record",
    "RunConfig",
    "RunOptions",
    "StoredRun",
    "Streams",
    "TensorBoardLog",
    "TextError",
    "TokenVocabulary",
    "Trainer",
    "TrainingError",
    "TrainingOptions",
    "UnknownCharacterError",
    "Vocabulary",
    "load_checkpoint",
    "progress",
    "read_config",
    "read_run",
    "read_text",
    "stdlib_text",
]
