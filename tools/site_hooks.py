"""What the documentation site does beyond MkDocs: pages of the repository's root, and their links.

ARCHITECTURE.md, CONTRIBUTING.md and CHANGELOG.md stand in the root, where repositories have them,
and appear on the site as pages. Links between them and docs/ are turned into links of the site.
A link to a source file becomes its name, since the site has no sources.
"""

from __future__ import annotations

import re
from pathlib import Path
from posixpath import normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
PAGES = {
    f"{name}.md": f"{name.lower()}.md" for name in ("ARCHITECTURE", "CONTRIBUTING", "CHANGELOG")
}
PAGES["README.md"] = "index.md"
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^):#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the root."""
    for source, page in PAGES.items():
        if page != "index.md":
            text = (ROOT / source).read_text()
            files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point the links of a page to pages of the site."""
    del config
    uri = page.file.src_uri
    in_root = uri in PAGES.values() and uri != "index.md"
    folder = "" if in_root else normpath(f"docs/{uri}/..")  # of the page, in the repository

    def link(match: re.Match[str]) -> str:
        label, target, anchor = match[1], match[2], match[3] or ""
        path = normpath(f"{folder}/{target}" if folder else target)
        on_site = PAGES.get(path) or path.removeprefix("docs/")
        if files.get_file_from_path(on_site):
            return f"[{label}]({relpath(on_site, normpath(f'{uri}/..'))}{anchor})"
        return label if (ROOT / path).exists() else match[0]

    return LINK.sub(link, markdown)
