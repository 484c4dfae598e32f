"""Tools reach the model through its template, and its calls come back as OpenAI writes them."""

import json

import openai
import pytest

from endpoint import NAME, question, served
from vitrail.inference.completion import GrowingDecoding
from vitrail.models.bundle import Bundle
from vitrail.serving.tool_calls import Watch, form_known, read

TEMPLATE = """{%- if tools %}TOOLS{% for tool in tools %}{{ tool | tojson }}{% endfor %}
Call with <tool_call>{"name": ..., "arguments": ...}</tool_call>
{% endif %}{%- for message in messages %}{{ message.role }}: {% if message.content is string %}{{ message.content }}
{%- else %}{% for part in message.content %}{{ part.text if part.type == 'text' else '<image>' }}{% endfor %}{% endif %}
{%- for call in message.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}
{% endfor %}{% if add_generation_prompt %}assistant: {% endif %}"""
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CALL = '<tool_call>\n{"name": "weather", "arguments": {"city": "Łódź"}}\n</tool_call>'


@pytest.mark.parametrize(
    ("text", "says", "called"),
    [
        (CALL, "", ["weather"]),
        (f"Let me see. {CALL}\n{CALL}", "Let me see.", ["weather", "weather"]),
        ('<tool_call>[{"name": "a", "arguments": {}}, {"name": "b"}]</tool_call>', "", ["a", "b"]),
        ('<tool_call>{"name": "a", "arguments": "{}"}', "", ["a"]),
        ("no call", "no call", []),
        ("<tool_call>{broken</tool_call>", "<tool_call>{broken</tool_call>", []),
        ('<tool_call>{"name": 3}</tool_call>', '<tool_call>{"name": 3}</tool_call>', []),
        ("<tool_call>" + "[" * 9000, "<tool_call>" + "[" * 9000, []),
    ],
)
def test_calls_are_read_or_stay_text(text, says, called):
    said, calls = read(text)
    assert said == says and [one.name for one in calls] == called
    watch, streamed = Watch(), ""
    for start in range(0, len(text), 5):
        streamed += watch.grow(text[start : start + 5])
    rest, calls = watch.end()
    assert (streamed + rest).strip() == says and [one.name for one in calls] == called


def test_forms_that_are_not_known(nano):
    assert form_known(TEMPLATE, nano.tokenizer)
    assert not form_known(TEMPLATE.replace('"arguments"', "<function=x>"), nano.tokenizer)
    assert not form_known("{{ tools }}", nano.tokenizer)


@pytest.fixture
def told(fresh_nano, monkeypatch):
    """A server whose model knows tools, and whatever is asked, says what is put here."""
    fresh_nano.tokenizer.chat_template = TEMPLATE
    fresh_nano.processor.chat_template = TEMPLATE
    bundle = Bundle.of(fresh_nano.model, fresh_nano.processor)
    said = ["hello"]
    monkeypatch.setattr(GrowingDecoding, "_decoded", lambda self, ids: said[0][: 7 * len(ids)])
    monkeypatch.setattr("vitrail.inference.completion.end_tokens", lambda bundle: [])
    with served(bundle) as running:
        yield said, running, bundle


def asked(**fields):
    return {**question("what is the weather"), "max_tokens": 30, "tools": [WEATHER], **fields}


def test_a_call_comes_back(told):
    said, running, _ = told
    said[0] = f"I look. {CALL}"
    client = running.client()
    choice = client.chat.completions.create(**asked()).choices[0]
    assert choice.finish_reason == "tool_calls" and choice.message.content == "I look."
    (call,) = choice.message.tool_calls
    assert call.function.name == "weather" and json.loads(call.function.arguments) == {"city": "Łódź"}
    text, calls, reasons = "", [], []
    for chunk in client.chat.completions.create(**asked(), stream=True):
        delta = chunk.choices[0].delta
        text, reasons = text + (delta.content or ""), [*reasons, chunk.choices[0].finish_reason]
        calls += delta.tool_calls or []
    assert text.strip() == "I look." and reasons[-1] == "tool_calls"
    assert [(one.index, one.function.arguments) for one in calls] == [(0, call.function.arguments)]

    said[0] = "It rains there, and it will go on raining."
    history = [
        *question("what is the weather")["messages"],
        choice.message.model_dump(),
        {"role": "tool", "tool_call_id": call.id, "content": "rain"},
    ]
    answer = client.chat.completions.create(**asked(messages=history)).choices[0]
    assert answer.message.content == said[0] and answer.message.tool_calls is None
    assert answer.finish_reason == "length"


def test_the_prompt_shows_tools_and_calls(told):
    _, _, bundle = told
    from vitrail.data.records import Chat

    calls = {"type": "tool_call", "name": "weather", "arguments": {"city": "Łódź"}}
    turns = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": ({"type": "text", "text": ""}, calls)},
        {"role": "tool", "content": "rain"},
    ]
    pieces = bundle.encoder._template.render(
        Chat(messages=turns), add_generation_prompt=True, tools=[WEATHER]
    )
    text = "".join(piece.text for piece in pieces)
    assert '"Tells the weather."' in text and '{"name": "weather", "arguments": {"city": "Łódź"}}' in text
    assert "tool: rain" in text


def test_what_is_refused(told, nano):
    _, running, _ = told
    client = running.client()
    assert client.chat.completions.create(**asked(tool_choice="none")).choices[0].finish_reason == "length"
    for fields, says in (
        ({"tool_choice": "required"}, "tool_choice: must be one of none, auto"),
        ({"tools": [{**WEATHER, "function": {**WEATHER["function"], "strict": True}}]}, "strict"),
        (
            {"messages": [{"role": "tool", "tool_call_id": "1", "content": None}]},
            "messages[0].content: is missing",
        ),
        (
            {"messages": [{"role": "user", "content": "a", "tool_call_id": "1"}]},
            "tool_call_id: goes with a tool's turn",
        ),
        ({"tools": [{"type": "function", "function": {"name": "<image>"}}]}, "tools[0].function.name"),
    ):
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(**asked(**fields))
        assert says in str(caught.value)
    token = next(iter(nano.tokenizer.get_added_vocab()))
    hidden = {"type": "function", "function": {"name": "a", "description": f"x {token}"}}
    with pytest.raises(openai.BadRequestError, match="read as a token of the model's own"):
        client.chat.completions.create(**asked(tools=[hidden]))
    with served(nano) as plain:
        call = {"id": "1", "type": "function", "function": {"name": "a", "arguments": "{}"}}
        body = question()
        body["messages"] += [{"role": "assistant", "tool_calls": [call]}, *body["messages"]]
        status, _, answer = plain.send({**body, "model": NAME})
        assert status == 400 and "this model's chat template knows none" in answer["error"]["message"]
