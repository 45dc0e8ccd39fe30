"""Files of other libraries, read without them, and the command that lists what is in them."""

from __future__ import annotations

import functools
import json
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

import cases
import rnnfast
from cli_cases import rnnfast_
from exchange_cases import B, H, I, T, jax_in_32_bits, numbers  # noqa: F401  # a fixture
from rnnfast.exchange import found_in, read_layer
from rnnfast.exchange.files.keras_model import layers_of

LAYER = rnnfast.GRU(I, H, 2, bidirectional=True, seed=1)
STATE = {f"encoder.rnn.{name}": value for name, value in LAYER.state_dict().items()}


def assert_read(path: Path) -> None:
    cases.assert_identical(read_layer(path).state_dict(), LAYER.state_dict())


def test_npz(tmp_path: Path) -> None:
    for name, save in (("a.npz", np.savez), ("b.npz", np.savez_compressed)):
        save(tmp_path / name, **STATE)
        assert_read(tmp_path / name)
    np.savez(tmp_path / "fortran.npz", **{n: np.asfortranarray(v) for n, v in STATE.items()})
    assert_read(tmp_path / "fortran.npz")
    np.savez(tmp_path / "objects.npz", a=np.array([{}], object))
    with pytest.raises(ValueError, match=r"cannot read .*a\.npy: expected numbers, got objects"):
        found_in(tmp_path / "objects.npz")


def test_safetensors(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "a.safetensors")
    assert_read(tmp_path / "a.safetensors")
    halves = {n: v.astype(ml_dtypes.bfloat16) for n, v in STATE.items()}
    save_file(halves, tmp_path / "b.safetensors")
    read = read_layer(tmp_path / "b.safetensors").state_dict()
    for name, value in halves.items():
        expected = value.astype(np.float32)
        np.testing.assert_array_equal(read[name.removeprefix("encoder.rnn.")], expected)


class TestTorchFiles:
    @pytest.fixture(autouse=True)
    def find_torch(self) -> None:
        self.torch: Any = pytest.importorskip("torch", reason="PyTorch is not installed")
        self.tensors = {n: self.torch.from_numpy(v) for n, v in STATE.items()}

    @pytest.mark.parametrize("archived", [True, False])
    def test_state_dicts_and_checkpoints(self, tmp_path: Path, archived: bool) -> None:
        """Files are archives since PyTorch 1.6, and were pickles before."""
        torch, path = self.torch, tmp_path / "m.pt"
        save = functools.partial(torch.save, _use_new_zipfile_serialization=archived)
        transposed = {  # .t() leaves vectors as they are
            n: t.t().contiguous().t() for n, t in self.tensors.items()
        }
        parameters = {n: torch.nn.Parameter(t) for n, t in self.tensors.items()}
        for content in (
            self.tensors,
            transposed,
            parameters,
            {"model": self.tensors, "step": 3, "rates": [0.5, (1, None, True)], "name": "x"},
        ):
            save(content, path)
            assert_read(path)
        for dtype in (torch.float64, torch.bfloat16, torch.float16):
            save({n: t.to(dtype) for n, t in self.tensors.items()}, path)
            read = read_layer(path).state_dict()
            expected = self.tensors["encoder.rnn.weight_hh_l1"].to(dtype).float().numpy()
            np.testing.assert_array_equal(read["weight_hh_l1"], expected)

    def test_tensors_that_share_a_storage(self, tmp_path: Path) -> None:
        torch, path = self.torch, tmp_path / "m.pt"
        joined = torch.cat([t.flatten() for t in self.tensors.values()])
        pieces = joined.split([t.numel() for t in self.tensors.values()])
        views = {
            name: piece.view(t.shape)
            for piece, (name, t) in zip(pieces, self.tensors.items(), strict=True)
        }
        for archived in (True, False):
            torch.save(views, path, _use_new_zipfile_serialization=archived)
            assert_read(path)

    def test_parts_of_storages_are_refused(self, tmp_path: Path) -> None:
        """Early versions of PyTorch could write a storage as a part of another one."""
        path = tmp_path / "m.pt"
        self.torch.save(self.tensors, path, _use_new_zipfile_serialization=False)
        content = path.read_bytes()
        whole, part = b"Ntq", b"(X\x01\x00\x00\x00aK\x00K\x01ttq"
        assert whole in content
        path.write_bytes(content.replace(whole, part, 1))
        with pytest.raises(ValueError, match="a part of another one is not read"):
            found_in(path)

    def test_a_module_is_refused(self, tmp_path: Path) -> None:
        self.torch.save(self.torch.nn.GRU(3, 4), tmp_path / "m.pt")
        with pytest.raises(ValueError, match=r"could run any code; save module\.state_dict\(\)"):
            found_in(tmp_path / "m.pt")

    def test_no_code_is_run(self, tmp_path: Path) -> None:
        class Trap:
            def __reduce__(self) -> Any:
                return Path.touch, (tmp_path / "trapped",)

        with zipfile.ZipFile(tmp_path / "m.pt", "w") as archive:
            archive.writestr("m/data.pkl", pickle.dumps({"a": Trap()}, protocol=2))
        with pytest.raises(ValueError, match="as it could run any code"):
            found_in(tmp_path / "m.pt")
        assert not (tmp_path / "trapped").exists()

    def test_views_of_a_small_storage(self, tmp_path: Path) -> None:
        """A tensor that repeats one number could ask for any memory."""
        huge = self.torch.zeros(1).expand(2**20, 2**20)
        self.torch.save({"weight_ih_l0": huge}, tmp_path / "m.pt")
        with pytest.raises(ValueError, match=r"a tensor of shape .* is too large in relation to"):
            found_in(tmp_path / "m.pt")

    def test_an_old_file_that_ends_early(self, tmp_path: Path) -> None:
        path = tmp_path / "m.pt"
        self.torch.save(self.tensors, path, _use_new_zipfile_serialization=False)
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(ValueError, match="the file ends inside a storage"):
            found_in(path)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras
@pytest.mark.usefixtures("jax_in_32_bits")
class TestKerasFiles:
    @pytest.fixture(autouse=True)
    def find_keras(self) -> None:
        pytest.importorskip("h5py", reason="h5py is not installed")
        self.keras: Any = pytest.importorskip("keras", reason="Keras is not installed")

    def model(self, *layers: Any) -> Any:
        model = self.keras.Sequential([self.keras.Input((T, I)), *layers])
        given = [numbers(*w.shape, seed=k) for k, w in enumerate(model.get_weights())]
        model.set_weights(given)
        return model

    @pytest.mark.parametrize("suffix", ["keras", "h5"])
    def test_models(self, tmp_path: Path, suffix: str) -> None:
        layers = self.keras.layers
        x = numbers(B, T, I)
        path = tmp_path / f"m.{suffix}"
        for layer, facts in (
            (layers.LSTM(H, return_sequences=True), {}),
            (layers.LSTM(H, return_sequences=True, recurrent_activation="hard_sigmoid"), {}),
            (layers.GRU(H, return_sequences=True, reset_after=False), {}),
            (layers.GRU(H, return_sequences=True, use_bias=False), {}),
            (layers.SimpleRNN(H, return_sequences=True, activation="relu"), {}),
            (layers.Bidirectional(layers.GRU(H, return_sequences=True)), {}),
            (layers.RNN(layers.LSTMCell(H), return_sequences=True), {}),
            (layers.GRU(H, return_sequences=True, go_backwards=True), {"reversed_input": True}),
        ):
            model = self.model(layer)
            model.save(path)
            read = read_layer(path, batch_first=True, **facts)
            given = x[:, ::-1] if facts else x
            np.testing.assert_allclose(read(given)[0], np.asarray(model(x)), rtol=0, atol=1e-5)

    def test_several_layers_and_their_options(self, tmp_path: Path) -> None:
        layers = self.keras.layers
        self.model(
            layers.Dense(6, name="first"),
            layers.Bidirectional(
                layers.LSTM(H, return_sequences=True, name="one"), merge_mode="sum"
            ),
            layers.GRU(H, return_sequences=True, go_backwards=True),
            layers.LSTM(H, name="named"),
        ).save(tmp_path / "m.keras")
        both, backwards, last = found_in(tmp_path / "m.keras")
        assert both.notes == ("merge_mode='sum': see rnnfast.MergeDirections",)
        assert backwards.backwards
        assert (last.prefix, last.notes) == (
            "named",
            ("return_sequences=False: only the last output is used",),
        )
        with pytest.raises(
            ValueError, match="it goes backwards: pass reversed_input= True, and pass"
        ):
            read_layer(tmp_path / "m.keras", prefix=backwards.prefix)
        self.model(
            layers.GRU(H, return_sequences=True, go_backwards=True, name="a"),
            layers.GRU(H, name="b"),
        ).save(tmp_path / "m.keras")
        with pytest.raises(ValueError, match="prefix: expected layers of one direction, got some"):
            read_layer(tmp_path / "m.keras", prefix=["a", "b"])

    def test_weights_alone_ask_for_the_rest(self, tmp_path: Path) -> None:
        model = self.model(self.keras.layers.Bidirectional(self.keras.layers.LSTM(H)))
        model.save_weights(tmp_path / "m.weights.h5")
        with pytest.raises(ValueError, match="pass gate_activation= 'sigmoid', 'hard_sigmoid_kera"):
            read_layer(tmp_path / "m.weights.h5")
        layer = read_layer(tmp_path / "m.weights.h5", gate_activation="sigmoid")
        assert layer.bidirectional

    def test_functions_that_are_not_known_are_named(self, tmp_path: Path) -> None:
        layers, path = self.keras.layers, tmp_path / "m.keras"
        self.model(
            layers.LSTM(H, activation="gelu", return_sequences=True, name="odd"),
            layers.LSTM(H, name="usual"),
        ).save(path)
        assert read_layer(path, prefix="usual").cell == "lstm"
        for prefix, message in (
            ("odd", "source: the network 'odd' cannot be loaded: activation='gelu' is no function"),
            (["odd", "usual"], "prefix: expected layers that can be loaded: activation='gelu' is"),
        ):
            with pytest.raises(ValueError, match=message):
                read_layer(path, prefix=prefix)

    def test_compressed_arrays_are_refused(self, tmp_path: Path) -> None:
        import h5py

        with h5py.File(tmp_path / "m.h5", "w") as file:
            file.create_dataset("lstm/kernel", data=numbers(I, 4 * H), compression="gzip")
        with pytest.raises(
            ValueError, match="lstm/kernel: expected an array that is not compressed"
        ):
            found_in(tmp_path / "m.h5")


def test_onnx(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed")
    layer = rnnfast.LSTM(I, H, bidirectional=True, seed=1).eval()
    rnnfast.onnx.export(layer, tmp_path / "m.onnx")
    again = read_layer(tmp_path / "m.onnx")
    x = numbers(T, B, I)
    np.testing.assert_allclose(again(x)[0], layer(x)[0], rtol=0, atol=1e-6)


def tesseract_network(integers: bool) -> tuple[bytes, np.ndarray]:
    """Return the bytes of Tesseract's "Series" of an input and an LSTM, and its four matrices."""

    def text(value: str) -> bytes:
        return struct.pack("<I", len(value)) + value.encode()

    def head(kind: str, inputs: int, outputs: int, name: str) -> bytes:
        numbers = struct.pack("<bbiiii", 0, 0, 0, inputs, outputs, 0)
        return b"\0" + text(kind) + numbers + text(name)

    matrices = np.stack([numbers(H, I + H + 1, seed=k).astype(np.float64) for k in range(4)])
    parts = []
    for k, matrix in enumerate(matrices):
        sizes = struct.pack("<II", *matrix.shape)
        if integers:
            scales = np.abs(matrix).max(axis=1) / 127
            rounded = np.round(matrix / scales[:, None]).astype(np.int8)
            matrices[k] = rounded * scales[:, None]
            content = sizes + b"\0" + rounded.tobytes() + struct.pack("<I", H) + scales.tobytes()
        else:
            content = sizes + bytes(8) + matrix.tobytes()
        parts.append(bytes([128 + integers]) + content)
    lstm = head("LSTM", I, H, "Lfx5") + struct.pack("<i", I + H) + b"".join(parts)
    first = head("Input", I, I, "Input") + struct.pack("<5i", 1, 0, 0, I, 0)
    return head("Series", I, H, "Series") + struct.pack("<I", 2) + first + lstm, matrices


@pytest.mark.parametrize("integers", [True, False])
def test_tesseract(tmp_path: Path, integers: bool) -> None:
    """A file in the format of Tesseract 5 gives its gates; c is bounded as in its code."""
    network, (g, i, f, o) = tesseract_network(integers)
    start = 4 + 8 * 18
    offsets = [-1] * 17 + [start]
    content = struct.pack("<i18q", 18, *offsets) + network
    (tmp_path / "m.traineddata").write_bytes(content)
    (tmp_path / "m.lstm").write_bytes(network)
    x, ys = numbers(T, 1, I).astype(np.float64), []
    h, c = np.zeros(H), np.zeros(H)
    for step in x[:, 0]:
        source = np.concatenate([step, h, [1.0]])
        gates = [1 / (1 + np.exp(-m @ source)) for m in (i, f, o)]
        c = np.clip(gates[1] * c + gates[0] * np.tanh(g @ source), -100, 100)
        h = gates[2] * np.tanh(c)
        ys.append(h)
    for name in ("m.traineddata", "m.lstm"):
        layer = read_layer(tmp_path / name)
        assert "clipped" in layer.cell
        np.testing.assert_allclose(layer(x)[0][:, 0], ys, rtol=0, atol=1e-5)
        assert read_layer(tmp_path / name, cell_clip=0.0).cell == "lstm"


def test_other_files_are_refused(tmp_path: Path) -> None:
    for name, content, message in (
        ("a.bin", b"nothing", r"expected a file in one of the formats \.h5, \.keras, \.safet"),
        ("a.h5", b"", "expected a file in one of"),
        ("a.traineddata", b"\0" * 100, "expected a file of Tesseract 4 or 5 with a network"),
        ("a.mlmodel", b"\x0a\xff\xff", "the message is cut off, or damaged"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=rf"source: cannot read .*{name}: .*{message}"):
            found_in(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        found_in(tmp_path / "missing.h5")
    with pytest.raises(IsADirectoryError):
        found_in(tmp_path)


def test_a_damaged_onnx_file_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed")
    (tmp_path / "a.onnx").write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"source: cannot read .*a\.onnx: .*cannot read"):
        found_in(tmp_path / "a.onnx")


class TestCommand:
    def test_lists_and_lines(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        arrays = STATE | {"cell.kernel": numbers(3, 8), "cell.recurrent_kernel": numbers(2, 8)}
        np.savez(tmp_path / "m.npz", **arrays)
        code, out, _ = rnnfast_(capsys, "inspect-weights", tmp_path / "m.npz")
        assert code == 0
        assert f"rnnfast.read_layer('{tmp_path}/m.npz', prefix='encoder.rnn')\n" in out
        assert f"rnnfast.read_layer('{tmp_path}/m.npz', prefix='cell', gate_activation=?)\n" in out
        for word in ("pytorch", "gru", "both", "keras", "lstm", "forward"):
            assert word in out

    def test_the_line_reads_the_layer(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        np.savez(tmp_path / "m.npz", **STATE)
        _, out, _ = rnnfast_(capsys, "inspect-weights", tmp_path / "m.npz")
        layer = eval(out.splitlines()[-1], {"rnnfast": rnnfast})
        cases.assert_identical(layer.state_dict(), LAYER.state_dict())

    def test_errors(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "m.h5").write_bytes(b"no")
        np.savez(tmp_path / "m.npz", weight=numbers(3))
        for name, message in (
            ("m.h5", "expected a file in one of the formats"),
            ("m.npz", "has no recurrent layers by the names and shapes"),
            ("none", "No such file"),
        ):
            code, _, error = rnnfast_(capsys, "inspect-weights", tmp_path / name)
            assert code != 0
            assert message in error


@pytest.mark.parametrize(
    ("version", "facts"),
    [
        ("1.2.2", {"gate_activation": "hard_sigmoid_keras2"}),
        ("2.16.0-tf", {"gate_activation": "hard_sigmoid_keras2"}),
        ("3.15.1", {"gate_activation": "hard_sigmoid_keras3"}),
        ("", {}),
    ],
)
def test_the_hard_sigmoid_is_that_of_the_version(version: str, facts: dict[str, str]) -> None:
    options = {"name": "a", "recurrent_activation": "hard_sigmoid", "activation": "tanh"}
    config = {"config": {"layers": [{"class_name": "LSTM", "config": options}]}}
    (layer,) = layers_of(config, version)
    assert layer.facts == {"activation": "tanh"} | facts
    assert layer.problem == ""


def test_metadata_of_keras_is_no_code(tmp_path: Path) -> None:
    """A configuration that is not one gives an error, whatever it is made of."""
    for config in ("[]", "3", '{"config": {"layers": 3}}', '{"config": {"layers": [[[]]]}}'):
        with zipfile.ZipFile(tmp_path / "m.keras", "w") as archive:
            archive.writestr("config.json", config)
            archive.writestr("metadata.json", json.dumps({"keras_version": "3"}))
            archive.writestr("model.weights.h5", b"")
        with pytest.raises(ValueError, match="source: cannot read"):
            found_in(tmp_path / "m.keras")
