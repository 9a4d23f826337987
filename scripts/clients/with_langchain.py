"""What LangChain's ChatOpenAI can do: python with_langchain.py URL."""

import sys

from checks import report
from langchain_openai import ChatOpenAI

CHAT = ChatOpenAI(
    base_url=f"{sys.argv[1]}/v1",
    api_key="none",
    model="x",
    max_tokens=200,
    temperature=0,
    max_retries=0,
)
PLACE = {
    "title": "place",
    "description": "A city, and how many days.",
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 12}, "days": {"enum": [1, 2, 3]}},
    "required": ["city", "days"],
    "additionalProperties": False,
}


def invoke():
    """invoke"""
    assert CHAT.invoke("Hello").usage_metadata["output_tokens"]


def stream():
    """stream"""
    assert "".join(chunk.content for chunk in CHAT.stream("Hello"))


def tools():
    """bind_tools with a tool that must be called"""
    found = CHAT.bind_tools([PLACE], tool_choice="place").invoke("Two days in Paris")
    assert found.tool_calls[0]["args"]["days"] in (1, 2, 3)


def schema():
    """with_structured_output by json_schema"""
    found = CHAT.with_structured_output(PLACE, method="json_schema").invoke("Two days in Paris")
    assert found["days"] in (1, 2, 3)


report("langchain-openai", [invoke, stream, tools, schema])
