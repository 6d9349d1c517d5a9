"""Names that would act if a page took them for more than text."""

from __future__ import annotations

from itertools import product

# Each sets window.pwned, in some way that pages have fallen for.
_ACTS = (
    "<script>pwned=1<{slash}script>",
    "<img src=x onerror=pwned=1>",
    "<svg onload=pwned=1>",
    "<iframe srcdoc='<script>parent.pwned=1<{slash}script>'>",
    "<details open ontoggle=pwned=1>",
    "<input autofocus onfocus=pwned=1>",
    "<style onload=pwned=1>",
    "<body onpageshow=pwned=1>",
    "<a href=javascript:pwned=1 id=storage>x<{slash}a>",
    "javascript:pwned=1",
    "{{{{constructor.constructor('pwned=1')()}}}}",
    "${{pwned=1}}",
    "<math><mtext><img src=x onerror=pwned=1>",
    "<form id=location><input name=href>",
    "<base href=data:,>",
    "<meta http-equiv=refresh content='0;url=javascript:pwned=1'>",
)
_AROUND = ("{}", '"{}', "'>{}", '">{}<!--', "]]>{}", "%22{}", "&lt;{}&gt;")
# Others hide or turn what is shown around them.
_TRICKS = (
    "\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe",
    "zero\N{ZERO WIDTH SPACE}width",
    "line\N{LINE SEPARATOR}separator",
    "__proto__",
    "constructor",
    "=cmd|' 'C!A0",
    "e\N{COMBINING ACUTE ACCENT}" * 40,
    "\N{LATIN SMALL LETTER E WITH ACUTE}",
    "  leading and trailing  ",
    "a" * 200,
    "%2F%00%0d%0a",
    "name\N{SNAKE}\N{PILE OF POO}",
)


def hostile_names() -> list[str]:
    """More than a hundred names without a slash, all different."""
    acts = [
        around.format(act.format(slash="\N{DIVISION SLASH}"))
        for act, around in product(_ACTS, _AROUND)
    ]
    return [*acts, *_TRICKS]


def hostile_folders() -> list[str]:
    """Names whose closing tags make folders: a slash is a slash."""
    return [act.format(slash="/") for act in _ACTS if "{slash}" in act]
