"""What TGI's own Python client can do: python with_tgi.py URL."""

import asyncio
import sys

from checks import report
from text_generation import AsyncClient, Client
from text_generation.errors import ValidationError

CLIENT = Client(sys.argv[1], timeout=300)


def whole():
    """generate with the prompt's tokens and top_n_tokens"""
    found = CLIENT.generate(
        "The capital of Finland is", max_new_tokens=5, decoder_input_details=True
    )
    assert found.details.prefill[0].logprob is None and found.details.generated_tokens
    assert CLIENT.generate("The", max_new_tokens=2, top_n_tokens=2).details.top_tokens


def best():
    """generate with best_of"""
    found = CLIENT.generate("The", best_of=2, do_sample=True, max_new_tokens=4)
    assert len(found.details.best_of_sequences) == 1


def streamed():
    """generate_stream"""
    events = list(CLIENT.generate_stream("The capital of Finland is", max_new_tokens=5))
    assert events[-1].generated_text == "".join(event.token.text for event in events)


def asynchronous():
    """async generate_stream"""

    async def read():
        client = AsyncClient(sys.argv[1], timeout=300)
        return [event async for event in client.generate_stream("The", max_new_tokens=4)]

    assert asyncio.run(read())[-1].details.finish_reason


def chat():
    """chat"""
    found = CLIENT.chat([{"role": "user", "content": "Hello"}], max_tokens=5)
    assert found.choices[0].message.content is not None


def errors():
    """typed errors"""
    try:
        CLIENT.generate("The", max_new_tokens=10**6)
    except ValidationError:
        return
    raise AssertionError


report("text-generation", [whole, best, streamed, asynchronous, chat, errors])
