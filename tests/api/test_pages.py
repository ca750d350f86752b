"""The table of pages: what the build left, and nothing that is reached through a link."""

import base64
import hashlib
import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from barograph.api.bodies import FOREVER, REVALIDATE
from barograph.api.pages import POLICY, plain_page, read_site, sign_in_page


def build(folder: Path) -> Path:
    (folder / "assets" / "fonts").mkdir(parents=True)
    (folder / "index.html").write_text(
        '<!doctype html><script type="module" src="./assets/index-CAJ3x9aB.js"></script>'
    )
    (folder / "assets" / "index-CAJ3x9aB.js").write_text("console.log(1)")
    (folder / "assets" / "logo.svg").write_text("<svg/>")
    (folder / "assets" / "fonts" / "a-12345678.woff2").write_bytes(b"wOF2")
    return folder


def test_the_table_holds_what_was_built(tmp_path: Path) -> None:
    site = read_site(build(tmp_path))
    assert site.home_status == 200
    assert b"index-CAJ3x9aB.js" in site.home.content
    assert set(site.assets) == {"index-CAJ3x9aB.js", "logo.svg", "fonts/a-12345678.woff2"}
    assert site.assets["index-CAJ3x9aB.js"].media_type == "text/javascript"
    assert site.assets["fonts/a-12345678.woff2"].media_type == "font/woff2"


def test_only_a_name_with_a_hash_is_kept_for_good(tmp_path: Path) -> None:
    site = read_site(build(tmp_path))
    assert site.assets["index-CAJ3x9aB.js"].cache_control == FOREVER
    assert site.assets["logo.svg"].cache_control == REVALIDATE
    assert site.home.cache_control == REVALIDATE


def test_links_are_left_out(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s")
    folder = build(tmp_path / "static")
    (folder / "assets" / "link-12345678.js").symlink_to(secret)
    assert "link-12345678.js" not in read_site(folder).assets


def test_the_table_is_read_once(tmp_path: Path) -> None:
    folder = build(tmp_path)
    site = read_site(folder)
    (folder / "assets" / "logo.svg").write_text("changed")
    assert site.assets["logo.svg"].content == b"<svg/>"


def test_without_a_build_the_page_says_how_to_get_one(tmp_path: Path) -> None:
    site = read_site(tmp_path)
    assert site.home_status == 503
    assert b"pip install" in site.home.content
    assert site.assets == {}


def test_the_policy_allows_no_inline_script_and_no_other_origin() -> None:
    for page in (plain_page("t", "c"), sign_in_page()):
        policy = page.headers["Content-Security-Policy"]
        assert "unsafe" not in policy + POLICY
        assert "http" not in policy + POLICY
        assert "script-src 'self'" in policy
        assert b"<script" not in page.content


def test_the_one_inline_style_is_the_one_whose_digest_is_allowed() -> None:
    page = sign_in_page()
    (style,) = re.findall(r"<style>(.*?)</style>", page.content.decode())
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in page.headers["Content-Security-Policy"]


@given(st.text())
def test_no_notice_becomes_markup(notice: str) -> None:
    plain = sign_in_page("x").content.decode()
    page = sign_in_page(f"<{notice}>").content.decode()
    assert page.count("<") == plain.count("<")
