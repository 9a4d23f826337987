"""The server: OpenAI and TGI routes and a chat page in front of one engine, the filter always on."""
