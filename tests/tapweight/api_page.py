"""docs/api-tapweight.md from the code: `python tests/tapweight/api_page.py > docs/api-tapweight.md`."""

from __future__ import annotations

import inspect
import re
import sys

import tapweight
from tapweight import horizon, solvers

HEAD = """# tapweight: every public name

Made from the code by `python tests/tapweight/api_page.py > docs/api-tapweight.md`; a test compares the
two. What the parts are for is in [hypergradients.md](hypergradients.md).
"""


def first_paragraph(thing: object) -> str:
    text = inspect.getdoc(thing) or ""
    return " ".join(text.split("\n\n")[0].split())


def signature(name: str, thing: object) -> str:
    """On one line, or an argument a line where that is too long; "name" alone for what is not called with arguments."""
    try:
        parameters = [p for p in inspect.signature(thing).parameters.values() if p.name != "self"]
    except ValueError:
        return name
    shown = [re.sub(r"ForwardRef\((.*?)\)", r"\1", str(p)).replace("'", "") for p in parameters]
    first = next((i for i, p in enumerate(parameters) if p.kind is p.KEYWORD_ONLY), None)
    if first is not None:
        shown.insert(first, "*")
    line = f"{name}({', '.join(shown)})"
    return line if len(line) <= 110 else "\n".join([f"{name}(", *(f"    {p}," for p in shown), ")"])


def entry(name: str, thing: object) -> str:
    lines = [f"### {name}\n", first_paragraph(thing), ""]
    if inspect.isclass(thing):
        lines += ["```python", f"class {signature(name, thing.__init__ if '__init__' in vars(thing) else thing)}"]
        for member, value in vars(thing).items():
            function = value.__func__ if isinstance(value, staticmethod | classmethod) else value
            if member.startswith("_") or not (inspect.isfunction(function) or isinstance(value, property)):
                continue
            if isinstance(value, property):
                lines.append(f"    .{member}")
            else:
                lines.append("\n".join("    " + line for line in signature(f".{member}", function).splitlines()))
        lines.append("```\n")
    else:
        lines += ["```python", signature(name, thing), "```\n"]
    return "\n".join(lines)


def page() -> str:
    parts = [HEAD]
    for title, module in (("tapweight", tapweight), ("tapweight.solvers", solvers), ("tapweight.horizon", horizon)):
        parts.append(f"## {title}\n")
        for name in sorted(module.__all__):
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                parts.append(entry(name, thing))
    return "\n".join(parts).rstrip() + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
