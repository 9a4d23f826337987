"""A Gradio page on an application: nothing of it calls outside, and its errors stay inside."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import FastAPI

_ICON = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">\
<path d="M8 1 15 15H11L8 8 5 15H1Z" fill="#c2410c"/></svg>"""
"""A letter A: browsers ask for /favicon.ico before Gradio writes its links into a page."""


def mount(app: "FastAPI", blocks: Any, path: str, css: str, head: str) -> Callable[[], None]:
    """Put `blocks` on `app` at `path`, inside a running event loop.

    Returns what lets go of open pages: each keeps a connection, and a server waits for them.
    """
    import gradio
    from starlette.responses import Response

    async def icon() -> Response:
        return Response(_ICON, media_type="image/svg+xml")

    app.add_api_route("/favicon.ico", icon, include_in_schema=False)
    gradio.mount_gradio_app(
        app,
        blocks,
        path=path,
        ssr_mode=False,
        run_history=False,
        footer_links=[],
        show_error=False,
        enable_monitoring=False,
        css=css,
        head=head,
    )
    mounted: Any = app.routes[-1]
    let_go: Callable[[], None] = mounted.app.stop_event.set
    return let_go
