"""Folders that look like models: nothing in them runs, and what cannot be loaded says why."""

import json
import pickle
import shutil
import struct

import pytest
import torch

from families import save_family
from vitrail.data.records import Chat
from vitrail.models.loading import load

CHAT = Chat(messages=({"role": "user", "content": "What?"}, {"role": "assistant", "content": "This."}))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "llava"
    save_family("llava", folder)
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def marker(tmp_path):
    """A file that malicious code would make; it must not be there afterwards."""
    place = tmp_path / "ran"
    yield place
    assert not place.exists(), "code of the folder ran"


class Evil:
    def __init__(self, place):
        self.place = str(place)

    def __reduce__(self):
        return open, (self.place, "w")


def change(file, **fields):
    content = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**content, **fields}))


def loads(folder):
    """``loaded``, or the sentence with which the folder is refused; any other error is the test's."""
    try:
        load(folder)
    except ValueError as refused:
        return str(refused)
    return "loaded"


def evil_code(folder, marker):
    (folder / "evil.py").write_text(f"open({str(marker)!r}, 'w')\nclass Evil: pass\n")


def test_the_folder_itself_is_right(folder):
    assert load(folder).encoder.encode(CHAT).labelled > 0


def test_code_of_the_model_is_refused_unless_asked_for_in_words(folder, marker):
    evil_code(folder, marker)
    change(
        folder / "config.json",
        auto_map={"AutoConfig": "evil.Evil", "AutoModelForImageTextToText": "evil.Evil"},
    )
    with pytest.raises(ValueError, match=r"auto_map.*trust_remote_code=True"):
        load(folder)


def test_code_of_an_unknown_model_type_is_refused(folder, marker):
    evil_code(folder, marker)
    change(folder / "config.json", model_type="evil", auto_map={"AutoConfig": "evil.Evil"})
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        load(folder)


@pytest.mark.parametrize(
    "file, key",
    [
        ("tokenizer_config.json", "AutoTokenizer"),
        ("preprocessor_config.json", "AutoImageProcessor"),
        ("processor_config.json", "AutoProcessor"),
    ],
)
def test_code_of_a_processor_does_not_run(folder, marker, file, key):
    evil_code(folder, marker)
    target = ["evil.Evil", None] if key == "AutoTokenizer" else "evil.Evil"
    change(folder / file, auto_map={key: target})
    outcome = loads(folder)
    assert not marker.exists(), outcome
    assert outcome == "loaded" or "trust_remote_code" in outcome


def test_pickled_weights_are_refused(folder, marker):
    (folder / "model.safetensors").unlink()
    with open(folder / "pytorch_model.bin", "wb") as file:
        pickle.dump(Evil(marker), file)
    with pytest.raises(ValueError, match="safetensors"):
        load(folder)


def test_honest_pickles_are_refused_too(folder):
    (folder / "model.safetensors").unlink()
    torch.save({"weight": torch.zeros(1)}, folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"safetensors.*\.bin"):
        load(folder)


def test_pickles_beside_the_weights_are_left_alone(folder, marker):
    for name in ("pytorch_model.bin", "adapter_model.bin", "training_args.bin", "optimizer.pt"):
        with open(folder / name, "wb") as file:
            pickle.dump(Evil(marker), file)
    assert load(folder).encoder.encode(CHAT).labelled > 0


def test_a_pickled_adapter_does_not_run(folder, marker):
    with open(folder / "adapter_model.bin", "wb") as file:
        pickle.dump(Evil(marker), file)
    change(
        folder / "adapter_config.json",
        peft_type="LORA",
        r=4,
        target_modules=["q_proj"],
        base_model_name_or_path=str(folder),
    )
    outcome = loads(folder)
    assert not marker.exists(), outcome
    assert outcome == "loaded" or "adapter" in outcome


def header(content, length=None):
    raw = json.dumps(content).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw


DAMAGED = {
    "nothing": b"",
    "text": b"this is not a model" * 9,
    "a huge header": struct.pack("<Q", 1 << 62) + b"{}",
    "a header that is no JSON": struct.pack("<Q", 8) + b"notjson!",
    "offsets beyond the end": header({"weight": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}),
    "negative sizes": header({"weight": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}) + bytes(4),
    "other weights": header({"weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}) + bytes(4),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_weights_are_refused(folder, name):
    (folder / "model.safetensors").write_bytes(DAMAGED[name])
    with pytest.raises(ValueError, match="model"):
        load(folder)


def test_a_pickle_called_safetensors_is_refused(folder, marker):
    with open(folder / "model.safetensors", "wb") as file:
        pickle.dump(Evil(marker), file)
    with pytest.raises(ValueError, match="model"):
        load(folder)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_weights_that_are_cut_off_are_refused(folder, share):
    raw = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(raw[: int(len(raw) * share)])
    with pytest.raises(ValueError, match="model"):
        load(folder)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '"x"', "{}", '{"model_type": 3}', '{"model_type": "no such"}']
)
def test_damaged_configurations_are_refused(folder, content):
    (folder / "config.json").write_text(content)
    with pytest.raises(ValueError):
        load(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}"])
def test_damaged_tokenizers_are_refused(folder, content):
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(ValueError, match="tokenizer"):
        load(folder)


ESCAPES = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ cycler.__init__.__globals__.os.system('touch MARKER') }}",
    "{{ messages.__class__.__base__.__subclasses__()[0]('MARKER') }}",
    "{% for i in range(1000000000) %}x{% endfor %}",
    "{% if %}",
    "{{ raise_exception('no') }}",
]


@pytest.mark.parametrize("template", ESCAPES)
def test_chat_templates_cannot_leave_their_box(folder, marker, template):
    template = template.replace("MARKER", str(marker))
    for file in ("chat_template.jinja", "chat_template.json"):
        (folder / file).unlink(missing_ok=True)
    (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(ValueError):
        load(folder).encoder.encode(CHAT)
