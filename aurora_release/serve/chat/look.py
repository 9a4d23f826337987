"""How the page looks, and what the browser does by itself."""

from aurora_release.safety.taxonomy import LANGUAGES

HEAD = """
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'self' 'unsafe-inline' \
'unsafe-eval' data: blob:; form-action 'self'; object-src 'none'">
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
#columns .title::before { content: "ⓘ"; }
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
TURN_LIGHT = "() => { document.body.classList.toggle('dark'); }"
