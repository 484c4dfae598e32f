"""Models as ONNX files: equal in ONNX Runtime at other sizes than they were traced with, or refused."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

import dual_encoders
import encoders
from vitrail.serving.exports import onnx
from vitrail.serving.exports.export import Settings, export
from vitrail.serving.exports.folding import open_model
from vitrail.serving.exports.onnx_parts import parts_of


def said(_):
    pass


def test_vitrails_own_model_in_three_parts(nano, tmp_path):
    nano.save(tmp_path / "model")
    done = export(str(tmp_path / "model"), tmp_path / "out", Settings("onnx"), say=said)
    names = ("vision_encoder.onnx", "embed_tokens.onnx", "decoder_model.onnx", "tokenizer.json", "README.md")
    assert set(names) <= set(done.files)
    assert len(done.checks) == 3 and all(value <= onnx.TOLERANCE for value in done.checks.values())
    pixels = torch.randn(3, 3, 32, 32)
    session = onnxruntime.InferenceSession(
        tmp_path / "out" / "vision_encoder.onnx", providers=["CPUExecutionProvider"]
    )
    found = session.run(None, {"pixel_values": pixels.numpy()})[0]
    with torch.inference_mode():
        expected = nano.model.get_image_features(pixels).pooler_output
    assert found.shape == (3, 4, 64)
    np.testing.assert_allclose(found.reshape(12, 64), expected.numpy(), atol=1e-5)


def test_a_file_that_says_something_else_is_refused(tmp_path, monkeypatch):
    class Doubled(torch.nn.Module):
        factor = 2.0

        def forward(self, x):
            return x * self.factor

    part = onnx.Part(
        "model", Doubled(), {"x": torch.ones(2, 3)}, {"x": {0: "batch"}}, ("y",), [{"x": torch.ones(4, 3)}]
    )
    assert list(onnx.write([part], tmp_path, say=said).values()) == [0.0]
    part.module.factor = 2.1
    with pytest.raises(ValueError, match=r"values differ by 0.048 of the largest"):
        onnx._compare(part, tmp_path / "model.onnx")

    class Branching(torch.nn.Module):
        def forward(self, x):
            return x if float(x.sum()) > 0 else -x

    part.module = Branching()
    with pytest.raises(ValueError, match=r"model cannot be exported to ONNX .*--to merged or hf-llava"):
        onnx.write([part], tmp_path, say=said)


@pytest.mark.parametrize("kind", ["bert", "clip", "siglip"])
def test_which_files_an_encoder_becomes(kind, tmp_path):
    """What is traced runs, at the size of its tests too; the export itself is long."""
    (encoders if kind == "bert" else dual_encoders).save(kind, tmp_path)
    parts = parts_of(open_model(str(tmp_path), say=said).bundle)
    expected = ["model"] if kind == "bert" else ["vision_model", "text_model"]
    assert [part.name for part in parts] == expected
    for part in parts:
        for arguments in (part.example, *part.tests):
            with torch.inference_mode():
                output = part.module(*(arguments[name] for name in part.example))
            first = output[0] if isinstance(output, tuple) else output
            assert first.shape[0] == next(iter(arguments.values())).shape[0]
            assert set(part.axes) == set(part.example)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["bert", "xlm-roberta", "modernbert", "clip", "siglip", "llava"])
def test_every_kind_is_exported(kind, tmp_path, saved_family):
    if kind == "llava":
        source = saved_family(kind)
    else:
        source = tmp_path / "model"
        (encoders if kind in encoders.KINDS else dual_encoders).save(kind, source)
    done = export(str(source), tmp_path / "out", Settings("onnx"), say=said)
    assert done.checks and all(value <= onnx.TOLERANCE for value in done.checks.values())


def test_models_that_cut_pictures_are_refused(saved_family):
    with pytest.raises(ValueError, match="cuts or scales a picture by its size"):
        parts_of(open_model(str(saved_family("smolvlm")), say=said).bundle)
