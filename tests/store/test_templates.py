"""One kind of template for all pages and texts."""

from cardiov.store.templates import templates


def test_pages_escape_what_is_filled_in_and_markdown_does_not(tmp_path):
    for ending in ("html", "md"):
        (tmp_path / f"some.{ending}").write_text("{% for name in names %}\n  {% if name %}\n{{ name }}\n  {% endif %}\n{% endfor %}\n")
    texts = [templates(tmp_path).get_template(f"some.{ending}").render(names=["<b>", "&"]) for ending in ("html", "md")]
    assert texts == ["&lt;b&gt;\n&amp;\n", "<b>\n&\n"]
