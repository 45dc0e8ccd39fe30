"""MkDocs hooks that add the pages of the repository's root to the site and check the API reference.

ARCHITECTURE.md, CONTRIBUTING.md and CHANGELOG.md live in the root, where readers of a repository
expect them, and also appear on the site. Links between them and docs/ become links within the site.
A link to a source file becomes plain text, since the site has no sources. If a page of the API
reference lacks a public name, the hooks warn, and `mkdocs build --strict` turns that into an error.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from posixpath import normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
PAGES = {
    f"{name}.md": f"{name.lower()}.md" for name in ("ARCHITECTURE", "CONTRIBUTING", "CHANGELOG")
}
PAGES["README.md"] = "index.md"
LOG = get_plugin_logger(__name__)
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^):#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the repository's root."""
    for source, page in PAGES.items():
        if page != "index.md":
            text = (ROOT / source).read_text()
            files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point the links of a page to the pages of the site."""
    del config
    uri = page.file.src_uri
    in_root = uri in PAGES.values() and uri != "index.md"
    folder = "" if in_root else normpath(f"docs/{uri}/..")  # that holds the page in the repository

    def link(match: re.Match[str]) -> str:
        label, target, anchor = match[1], match[2], match[3] or ""
        path = normpath(f"{folder}/{target}" if folder else target)
        on_site = PAGES.get(path) or path.removeprefix("docs/")
        if files.get_file_from_path(on_site):
            return f"[{label}]({relpath(on_site, normpath(f'{uri}/..'))}{anchor})"
        return label if (ROOT / path).exists() else match[0]

    return LINK.sub(link, markdown)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> None:
    """Warn about public names of a module that its page of the API reference lacks."""
    del config
    if not page.file.src_uri.startswith("api/"):
        return
    module = str(page.title)
    source = ROOT / "python" / module.replace(".", "/")
    source = source / "__init__.py" if source.is_dir() else source.with_suffix(".py")
    for name in public_names(source):
        if name.isupper() or name == "__version__":
            continue  # values have no docstring
        # A function with the same name as its module is listed as module.name.name.
        there = f'id="{module}.{name}"' in html or f'id="{module}.{name}.{name}"' in html
        if not there and not files.get_file_from_path(f"api/{name}.md"):
            LOG.warning(f"{page.file.src_uri}: {module}.{name} is missing")


def public_names(source: Path) -> list[str]:
    """Return the names in `__all__` of a file."""
    for node in ast.parse(source.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return [str(name) for name in ast.literal_eval(node.value)]
    raise ValueError(f"{source}: expected an assignment of a list to __all__, got none")
