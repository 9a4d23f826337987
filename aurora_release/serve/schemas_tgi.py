"""What the TGI routes take; names, bounds and defaults are those of TGI 3.3."""

import json
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from aurora_release.serve.schemas_openai import Body, Stop, Text, Unsupported

Open = Annotated[float, Field(gt=0, lt=1)]


def _no_watermark(value: bool) -> bool:
    if value:
        raise ValueError("this server does not support it; leave it out")
    return value


class NamedSchema(Body):
    """A JSON schema, and a name for it that says nothing."""

    name: Text | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema")]


class JsonGrammar(Body):
    """The answer is JSON that fits a schema, given as an object or as text."""

    type: Literal["json"]
    value: dict[str, Any] | Text

    @property
    def json_schema(self) -> str:
        """The schema."""
        return self.value if isinstance(self.value, str) else json.dumps(self.value)


class SchemaGrammar(Body):
    """The answer is JSON that fits a schema with a name."""

    type: Literal["json_schema"]
    value: NamedSchema

    @property
    def json_schema(self) -> str:
        """The schema."""
        return json.dumps(self.value.schema_)


class RegexGrammar(Body):
    """The answer matches a regular expression."""

    type: Literal["regex"]
    value: Text

    @property
    def regex(self) -> str:
        """The expression."""
        return self.value


class Parameters(Body):
    """How a prompt is to be continued."""

    best_of: Annotated[int, Field(ge=1, le=20)] | None = None
    temperature: Annotated[float, Field(gt=0, le=100)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.1, le=10)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    top_k: Annotated[int, Field(ge=1)] | None = None
    top_p: Open | None = None
    typical_p: Open | None = None
    do_sample: bool = False
    max_new_tokens: Annotated[int, Field(ge=1)] | None = None
    return_full_text: bool | None = None
    stop: list[Stop] | None = None
    truncate: Annotated[int, Field(ge=1)] | None = None
    watermark: Annotated[bool, AfterValidator(_no_watermark)] = False
    details: bool = False
    decoder_input_details: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**64)] | None = None
    top_n_tokens: Annotated[int, Field(ge=0, le=5)] | None = None
    grammar: (
        Annotated[JsonGrammar | SchemaGrammar | RegexGrammar, Field(discriminator="type")] | None
    ) = None
    adapter_id: Unsupported = None

    @property
    def sampling(self) -> bool:
        """Whether tokens are drawn; TGI takes the likeliest one unless something asks for it."""
        narrowed = (self.temperature, self.top_k, self.top_p, self.typical_p)
        return self.do_sample or any(narrowed)

    @model_validator(mode="after")
    def _of_a_kind(self) -> Self:
        if (self.best_of or 1) > 1 and not self.sampling:
            raise ValueError("you must use sampling when `best_of` is > 1")
        if (self.best_of or 1) > 1 and self.seed is not None:
            raise ValueError("`seed` must not be set when `best_of` > 1")
        return self


class GenerateRequest(Body):
    """POST /generate and /generate_stream."""

    inputs: Text
    parameters: Parameters = Parameters()


class CompatRequest(GenerateRequest):
    """POST /: what clients send that know one address only."""

    stream: bool = False
