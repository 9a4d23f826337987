"""What the TGI routes take; names, bounds and defaults are those of TGI 3.3."""

from typing import Annotated

from pydantic import Field

from aurora_release.serve.schemas_openai import Body, Stop, Text, Unsupported

Open = Annotated[float, Field(gt=0, lt=1)]


class Parameters(Body):
    """How a prompt is to be continued."""

    best_of: Annotated[int, Field(ge=1, le=1)] | None = None
    temperature: Annotated[float, Field(gt=0, le=100)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.1, le=10)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    top_k: Annotated[int, Field(ge=1)] | None = None
    top_p: Open | None = None
    typical_p: Unsupported = None
    do_sample: bool = False
    max_new_tokens: Annotated[int, Field(ge=1)] | None = None
    return_full_text: bool | None = None
    stop: list[Stop] | None = None
    truncate: Annotated[int, Field(ge=1)] | None = None
    watermark: Unsupported = None
    details: bool = False
    decoder_input_details: Unsupported = None
    seed: Annotated[int, Field(ge=0, lt=2**64)] | None = None
    top_n_tokens: Annotated[int, Field(ge=0, le=5)] | None = None
    grammar: Unsupported = None
    adapter_id: Unsupported = None

    @property
    def sampling(self) -> bool:
        """Whether tokens are drawn; TGI takes the likeliest one unless something asks for it."""
        return self.do_sample or any((self.temperature, self.top_k, self.top_p))


class GenerateRequest(Body):
    """POST /generate and /generate_stream."""

    inputs: Text
    parameters: Parameters = Parameters()


class CompatRequest(GenerateRequest):
    """POST /: what clients send that know one address only."""

    stream: bool = False
