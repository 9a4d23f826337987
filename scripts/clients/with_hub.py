"""What huggingface_hub's InferenceClient can do: python with_hub.py URL."""

import asyncio
import json
import sys

from checks import report
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import ValidationError

CLIENT = InferenceClient(sys.argv[1], timeout=300)
USER = [{"role": "user", "content": "What is the capital of France?"}]


def whole():
    """text_generation with details and the prompt's tokens"""
    found = CLIENT.text_generation(
        "The capital of Finland is",
        max_new_tokens=6,
        details=True,
        decoder_input_details=True,
        top_n_tokens=2,
    )
    assert found.details.prefill[0].logprob is None and found.details.tokens
    assert found.details.top_tokens


def streamed():
    """text_generation, streamed with details"""
    events = list(
        CLIENT.text_generation(
            "The capital of Finland is", max_new_tokens=6, details=True, stream=True
        )
    )
    assert events[-1].details.generated_tokens == len(events)
    assert events[-1].generated_text == "".join(event.token.text for event in events)


def best():
    """text_generation with best_of and typical_p"""
    found = CLIENT.text_generation(
        "The", best_of=2, typical_p=0.9, details=True, max_new_tokens=6, do_sample=True
    )
    assert len(found.details.best_of_sequences) == 1


def grammar():
    """text_generation with a grammar"""
    schema = {
        "type": "object",
        "properties": {"a": {"enum": [1, 2]}},
        "required": ["a"],
        "additionalProperties": False,  # others would be written until the tokens are used up
    }
    text = CLIENT.text_generation(
        "The", grammar={"type": "json", "value": schema}, max_new_tokens=40
    )
    assert json.loads(text)["a"] in (1, 2)


def asynchronous():
    """text_generation, async and streamed"""

    async def read():
        async with AsyncInferenceClient(sys.argv[1], timeout=300) as client:
            stream = await client.text_generation("The", max_new_tokens=5, stream=True)
            return [text async for text in stream]

    assert asyncio.run(read())


def chat():
    """chat_completion, whole and streamed"""
    found = CLIENT.chat_completion(USER, max_tokens=8, temperature=0)
    chunks = CLIENT.chat_completion(USER, max_tokens=8, temperature=0, stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == found.choices[0].message.content


def errors():
    """typed errors"""
    try:
        CLIENT.text_generation("The", top_p=2.0)
    except ValidationError:
        return
    raise AssertionError


report("huggingface_hub", [whole, streamed, best, grammar, asynchronous, chat, errors])
