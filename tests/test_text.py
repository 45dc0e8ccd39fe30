"""What language models read: texts, vocabularies, streams of batches."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from rnnfast.training import (
    ByteVocabulary,
    Streams,
    TextError,
    UnknownCharacterError,
    Vocabulary,
    read_text,
    stdlib_text,
)
from rnnfast.training.batches import IGNORED, cover

# ---- texts


def test_files_are_joined_in_the_order_given(tmp_path: Path) -> None:
    one, two = tmp_path / "b.txt", tmp_path / "a.txt"
    one.write_bytes("naïve\r\n".encode())
    two.write_bytes(b"\xef\xbb\xbf" + "日本\n".encode())
    assert read_text([one, two]) == "naïve\r\n日本\n"
    assert read_text(str(two)) == "日本\n"


def test_a_file_that_is_not_utf8_is_named_with_the_byte(tmp_path: Path) -> None:
    file = tmp_path / "latin.txt"
    file.write_bytes("caf\u00e9 au lait".encode("latin-1"))
    with pytest.raises(TextError, match=r"latin\.txt: is not UTF-8: byte 0xe9 at offset 3 "):
        read_text(file)


def test_unreadable_and_empty_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(TextError, match=r"gone\.txt: cannot be read: No such file or directory"):
        read_text(tmp_path / "gone.txt")
    with pytest.raises(TextError, match="cannot be read: Is a directory"):
        read_text(tmp_path)
    (tmp_path / "empty.txt").touch()
    with pytest.raises(TextError, match=r"empty\.txt: the text is empty"):
        read_text(tmp_path / "empty.txt")
    with pytest.raises(TextError, match="no file: the text is empty"):
        read_text([])


def test_pipes_are_read_to_their_end_and_nobody_waits_for_a_writer(tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    os.write(theirs, "naïve".encode())
    os.close(theirs)
    assert read_text(f"/dev/fd/{ours}") == "naïve"  # as shells pass <(command)
    os.close(ours)
    os.mkfifo(tmp_path / "fifo")
    whole = tmp_path / "whole.txt"
    whole.write_text("a text")
    for paths in (tmp_path / "fifo", [whole, tmp_path / "fifo"]):
        with pytest.raises(TextError, match=r"fifo: the pipe is empty, .*use <\(cat .*fifo\)"):
            read_text(paths)
    with pytest.raises(TextError, match="it is a character device, not a regular file or a pipe"):
        read_text("/dev/zero")


def test_any_bytes_are_a_text_for_models_of_bytes(tmp_path: Path) -> None:
    file = tmp_path / "any"
    data = b"\xef\xbb\xbfna\xc3\xafve\xff\0" + bytes(range(256))
    file.write_bytes(data)
    text = read_text(file, any_bytes=True)
    assert "ï" in text
    np.testing.assert_array_equal(ByteVocabulary().encode(text), list(data))


def test_the_standard_library_is_a_text_of_ascii_code() -> None:
    text = stdlib_text(1_000_000)
    assert len(text) == 1_000_000
    assert text.isascii()
    assert "def __init__(self" in text
    assert stdlib_text(1_000_000) == text
    assert text.startswith(stdlib_text(20_000))


def test_a_python_without_its_sources_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    with pytest.raises(TextError, match="no source code of the standard library"):
        stdlib_text()


def test_vocabulary_turns_characters_into_ids_and_back() -> None:
    vocabulary = Vocabulary("été 🎉!")
    assert vocabulary.characters == " !té🎉"
    ids = vocabulary.encode("té!🎉")
    np.testing.assert_array_equal(ids, [2, 3, 1, 4])
    assert vocabulary.decode(ids) == "té!🎉"
    assert vocabulary == Vocabulary(vocabulary.characters) != Vocabulary("t")


def test_an_unknown_character_is_named_with_its_place() -> None:
    with pytest.raises(
        UnknownCharacterError,
        match=r"character 'é' \(U\+00E9\) at position 5 \(line 2, column 3\) is not among the 3",
    ):
        Vocabulary("ab\n").encode("ab\nabéa")
    with pytest.raises(UnknownCharacterError, match=r"'~' .* at position 0"):
        Vocabulary("ab").encode("~")


def test_an_empty_vocabulary_is_refused() -> None:
    for empty in ("", [], [""]):
        with pytest.raises(TextError, match="at least one character"):
            Vocabulary(empty)


def test_a_vocabulary_may_be_given_as_several_texts() -> None:
    assert Vocabulary(["ab", "cb"]) == Vocabulary({"a", "b", "c"}) == Vocabulary("abc")
    for wrong, name in ((7, "int"), ([1, 2], "int"), (b"ab", "int"), (["a", None], "NoneType")):
        with pytest.raises(
            TypeError, match=f"characters: expected a string, or several, got .*{name}"
        ):
            Vocabulary(wrong)


def test_known_characters_are_encoded_and_the_others_counted() -> None:
    ids, unknown = Vocabulary("abc").encode_known("aβcγ🎉")
    np.testing.assert_array_equal(ids, [0, 2])
    assert unknown == 3


def test_bytes_are_written_as_characters_once_they_are_whole() -> None:
    vocabulary = ByteVocabulary()
    assert len(vocabulary) == 256
    ids = vocabulary.encode("é🎉!")
    np.testing.assert_array_equal(ids, list("é🎉!".encode()))
    assert list(vocabulary.spell(ids)) == ["é", "🎉", "!"]
    assert vocabulary.decode(ids[1:-2]) == "\ufffd\ufffd"
    assert vocabulary.encode_known("日")[1] == 0
    assert vocabulary != Vocabulary(vocabulary.characters)
    with pytest.raises(TextError, match=r"'\\ud800' at position 1 is half of a surrogate pair"):
        vocabulary.encode("a\ud800")


# ---- streams


def test_streams_are_contiguous_and_followed_by_their_targets() -> None:
    ids = np.arange(32)
    streams = Streams(ids, batch=3, seq_len=4)  # three streams of ten, two chunks each
    first, second, again = streams.next(), streams.next(), streams.next()
    np.testing.assert_array_equal(first.x[:, 1], [10, 11, 12, 13])
    np.testing.assert_array_equal(second.x[:, 1], [14, 15, 16, 17])
    np.testing.assert_array_equal(second.targets, second.x + 1)
    assert (first.starts, second.starts, again.starts) == (True, False, True)
    np.testing.assert_array_equal(again.x, first.x)
    assert streams.position == 3


def test_streams_may_use_the_whole_text() -> None:
    streams = Streams(np.arange(13), batch=3, seq_len=4)
    chunk = streams.next()
    np.testing.assert_array_equal(chunk.x.T.ravel(), np.arange(12))
    np.testing.assert_array_equal(chunk.targets.T.ravel(), np.arange(1, 13))


def test_a_text_shorter_than_a_sequence_is_refused() -> None:
    with pytest.raises(TextError, match=r"at least .* = 3 \* 4 \+ 1 = 13 characters, .* got 12"):
        Streams(np.arange(12), batch=3, seq_len=4)


def test_counts_of_texts_and_streams_are_integers() -> None:
    with pytest.raises(TypeError, match="limit: expected an integer, got float"):
        stdlib_text(1e4)
    with pytest.raises(TypeError, match="batch: expected an integer, got float"):
        Streams(np.arange(12), batch=2.0, seq_len=4)
    with pytest.raises(ValueError, match="seq_len: expected at least 1, got 0"):
        Streams(np.arange(12), batch=2, seq_len=0)


@pytest.mark.parametrize(("size", "batch", "seq_len"), [(2, 5, 3), (11, 3, 2), (12, 4, 100)])
def test_cover_predicts_each_character_once(size: int, batch: int, seq_len: int) -> None:
    chunks = list(cover(np.arange(size), batch, seq_len))
    counted = np.concatenate([c.targets[c.targets != IGNORED] for c in chunks])
    np.testing.assert_array_equal(np.sort(counted), np.arange(1, size))
    for chunk in chunks:
        real = chunk.targets != IGNORED
        np.testing.assert_array_equal(chunk.x[real] + 1, chunk.targets[real])
