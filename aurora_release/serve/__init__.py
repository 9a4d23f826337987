"""The server: OpenAI and TGI routes and a chat page over one engine, the filter always on."""
