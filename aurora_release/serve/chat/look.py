"""How the page looks, and what the browser does by itself."""

import json

from aurora_release.safety.taxonomy import LANGUAGES
from aurora_release.serve.chat.words import LABELS

_SCRIPT = """
(() => {
    const languages = LANGUAGES, labels = LABELS;
    const known = new Map(labels.flatMap((said) => said.map((text) => [text, said])));
    const say = () => {
        const place = Math.max(languages.indexOf(document.documentElement.lang), 0);
        for (const element of document.querySelectorAll("button, [role=log]"))
            for (const name of ["aria-label", "title"]) {
                const text = element.getAttribute(name), said = known.get(text);
                if (said && said[place] !== text) element.setAttribute(name, said[place]);
            }
        document.querySelectorAll("#examples button").forEach((button, number) => {
            button.lang = languages[number];
        });
    };
    let asked = 0;
    new MutationObserver(() => {
        cancelAnimationFrame(asked);
        asked = requestAnimationFrame(say);
    }).observe(document, {
        subtree: true, childList: true, attributeFilter: ["aria-label", "title", "lang"],
    });
})();
""".replace("LANGUAGES", json.dumps(LANGUAGES)).replace("LABELS", json.dumps([*LABELS.values()]))
"""Says Gradio's own buttons in the language of the page, and of examples which they are in."""

HEAD = f"""
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'self' 'unsafe-inline' \
'unsafe-eval' data: blob:; form-action 'self'; object-src 'none'">
<script>{_SCRIPT}</script>
"""
"""Nothing is loaded from elsewhere: neither by the page nor by a picture in an answer."""

STYLE = """
.gradio-container { max-width: 1200px !important; }
footer { display: none !important; }
:root {
    --button-primary-background-fill: #c2410c;
    --button-primary-background-fill-hover: #9a3412;
    --button-cancel-background-fill: #b91c1c;
    --block-info-text-color: #52525b;
    --input-placeholder-color: #71717a;
}
.dark {
    --button-primary-background-fill: #c2410c;
    --button-cancel-background-fill: #b91c1c;
    --block-info-text-color: #d4d4d8;
    --input-placeholder-color: #a1a1aa;
}
#top { align-items: end; flex-wrap: nowrap; }
#top .form { background: none !important; border: 0; flex: 0 0 150px; min-width: 0 !important; }
#language { background: none; padding: 0; }
#theme { flex: 0 0 auto; }
#title { flex: 1 1 auto; }
#title h1 { margin: 0; overflow-wrap: anywhere; }
#left, #right { height: 58vh; }
#left:not(:has([data-testid=user])) { height: 36vh; }
.gradio-container:has(#left [data-testid=user]) #examples { display: none; }
#composer { align-items: end; }
#composer .form, #message { min-width: 0 !important; }
#send, #stop { flex: 0 0 auto; }
#columns [data-testid=status-tracker] { display: none; }
#columns .title button { display: none; }
#columns .title::before { border: 1px solid; border-radius: 50%; content: "i";
    display: inline-block; flex: 0 0 auto; font: 600 0.75em/1.4 serif; text-align: center;
    width: 1.4em; }
@media (max-width: 640px) {
    .gradio-container main { padding: 8px !important; }
    #top { flex-wrap: wrap; }
    #title { flex: 1 0 100%; }
    #left:not(:has([data-testid=user])) { height: 22vh; }
    #columns:has(#right) #left, #columns:has(#right) #right { height: 36vh; }
    #examples button { min-width: 45% !important; }
    #composer { background: var(--body-background-fill); bottom: 0; flex-wrap: nowrap;
        padding-bottom: 6px; position: sticky; z-index: 5; }
}
"""
"""Examples go when a conversation has begun; colours reach a contrast of 4.5 to 1; a note is opened
by its title, in which Gradio puts a second button without a name; after a stop,
Gradio may leave its sign of waiting over a column, where nothing can be clicked then."""

SPEAK = "(language) => { document.documentElement.lang = language; return [language]; }"
"""So that a screen reader reads the page in its language."""
GREET = f"""() => {{
    const wanted = navigator.languages.map((language) => language.split("-")[0]);
    return wanted.find((language) => {list(LANGUAGES)}.includes(language)) ?? "{LANGUAGES[0]}";
}}"""
RETURN = """() => {
    if (matchMedia("(hover: hover)").matches) document.querySelector("#message textarea").focus();
}"""
"""Buttons that go when they are pressed leave the keyboard nowhere; a touch screen has none."""
TURN_LIGHT = "() => { document.body.classList.toggle('dark'); }"
