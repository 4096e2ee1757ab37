"""The page: it stands alone, escapes what is the user's, and says what it does not show."""

import re
from dataclasses import replace

import numpy as np
import pytest

from cpp_pipe.pipeline.report.markup import Html, breakable, join, tag
from cpp_pipe.pipeline.report.page import write_page
from cpp_pipe.pipeline.report.theme import LIGHT

from .contents import MISSING, Page, some_contents, some_evaluation, some_space, spread

EVIL = "<script>alert(1)</script>\"'&"


@pytest.fixture(scope="module")
def page() -> Page:
    """A page with everything."""
    return Page(write_page(some_contents()))


@pytest.fixture(scope="module")
def bare() -> Page:
    """A page of a run that holds nothing but clusters."""
    contents = some_contents(curve=None, captions={}, evaluation=None, missing=MISSING)
    return Page(write_page(contents))


def test_nothing_in_the_page_points_outside_itself(page):
    names = {name for name, _ in page.elements}
    assert names.isdisjoint({"script", "link", "iframe", "object", "embed", "base", "a", "form"})
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            assert attributes.get(name, "#").startswith(("#", "data:image/png;base64,"))
    text = write_page(some_contents())
    assert "://" not in text and "@import" not in text
    assert set(re.findall(r"url\((.)", text)) <= {"#"}


def test_a_browser_is_told_to_load_nothing(page):
    (policy,) = [one for one in page.all("meta") if "http-equiv" in one]
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert policy["content"].startswith("default-src 'none'")


def test_the_same_contents_give_the_same_bytes():
    assert write_page(some_contents()) == write_page(some_contents())


def test_everything_of_the_users_is_escaped():
    contents = some_contents(
        key=EVIL,
        captions={0: ((EVIL, 0.5),)},
        evaluation=some_evaluation(6, 400, label=EVIL),
        model=EVIL,
        skipped={EVIL: 3},
        versions=[replace(some_contents().versions[0], settings={"vocabulary": EVIL})],
        run=EVIL,
    )
    text = write_page(contents)
    page = Page(text)
    assert "<script" not in text
    assert not page.all("script")
    # Run, model, reason, caption, six classes, one mistake, six keys; JSON escapes the quotes.
    assert page.text.count(EVIL) >= 17
    assert page.text.count("<script>alert(1)</script>") == page.text.count(EVIL) + 1


def test_commands_and_reasons_are_escaped_too():
    missing = {name: replace(one, what=EVIL, command=EVIL) for name, one in MISSING.items()}
    contents = some_contents(curve=None, captions={}, evaluation=None, missing=missing)
    assert "<script" not in write_page(contents)


def test_every_figure_has_an_alternative_text_and_says_how_to_read_it(page):
    drawn = [one for one in page.all("svg") if "viewbox" in one]
    assert len(page.all("figure")) == len(drawn) == len(page.all("figcaption")) == 9
    for one in drawn:
        assert one["role"] == "img" and len(one["aria-label"]) > 40
    assert len({one["aria-label"] for one in drawn}) >= 7


def test_every_id_is_there_once_and_every_reference_leads_to_one():
    text = write_page(some_contents())
    ids = re.findall(r' id="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(|href=")#([^)"]+)', text)) == set(ids)


def test_tables_scroll_inside_themselves(page):
    scrolling = [one for one in page.all("div") if one.get("class") == "scroll"]
    assert len(page.all("table")) == len(scrolling) == 4
    for one in scrolling:
        assert one["tabindex"] == "0" and one["role"] == "region" and one["aria-label"]


def test_light_colours_stand_in_the_style_alone():
    style, rest = re.split("</style>", write_page(some_contents()), maxsplit=1)
    assert all(colour in style for colour in LIGHT.values())
    assert not [colour for colour in LIGHT.values() if colour in rest]


def test_the_style_knows_dark_narrow_and_paper():
    style = write_page(some_contents()).partition("</style>")[0]
    for rule in ("prefers-color-scheme: dark", "max-width: 32rem", "@media print"):
        assert rule in style


def test_the_head_says_what_was_seen_and_when(page):
    assert "400 pictures in 6 clusters" in page.text
    assert "Of 403 that were seen, 400 were embedded with ViT-B-32 (openai) and 3 skipped" in (
        page.text
    )
    assert "2026-11-25 03:04 UTC" in page.text
    assert "assignments 0123456789abcdef" in page.text
    assert "Seen 403 = embedded 400 + skipped 3 (no-image 3)" in page.text
    assert "features fedcba9876543210" in page.text


def test_what_is_absent_names_the_command_that_adds_it(bare):
    for command in ("cpp-pipe select-k adds it", "cpp-pipe caption adds them"):
        assert command in bare.text
    assert "cpp-pipe report --labels F adds scores" in bare.text
    assert "captions, by share" not in bare.text and "largest class" not in bare.text


def test_scores_stand_beside_k_means_and_chance(page):
    for words in ("these clusters", "k-means on the embeddings", "chance, with the same sizes"):
        assert words in page.text
    assert "−0.000" not in page.text and "0.000" in page.text


def test_the_table_shows_the_largest_cluster_first():
    x, _ = spread(2)
    cluster = np.array([0] * 100 + [1] * 300)
    contents = some_contents(2)
    tally = replace(contents.tally, sizes=np.bincount(cluster))
    text = Page(write_page(replace(contents, tally=tally))).text
    table = text[text.index("surest picture") :]
    assert table.index("300") < table.index("100")
    assert len(x) == 400


def test_a_sample_is_told_with_the_rows_that_it_is_of():
    contents = some_contents()
    overall = replace(contents.sample, overall=contents.sample.overall[::2])
    assert "all 400 pictures" in write_page(contents)
    drawn = write_page(replace(contents, sample=overall))
    assert "a random sample of 200 of 400 pictures" in drawn


@pytest.mark.parametrize("k", [1, 2])
def test_few_clusters_are_told_without_a_number_that_is_none(k):
    text = write_page(some_contents(k))
    assert "nan" not in re.sub(r"base64,[^\"]*", "", text)


def test_a_page_of_a_hundred_clusters_is_below_three_megabytes():
    contents = some_contents(100, rows=4000)
    # Noise in many directions: the worst that a heat map can be.
    noise = np.random.default_rng(0).normal(size=(4000, 512)).astype(np.float16)
    space = some_space(noise, contents.sample)
    text = write_page(replace(contents, raw=space, refined=space))
    assert len(text.encode()) < 3e6


def test_of_very_many_clusters_the_largest_are_shown_and_the_page_says_so():
    page = Page(write_page(some_contents(1001, rows=2002, captions={}, missing=MISSING)))
    assert "The 1,000 largest of 1,001 are shown" in page.text
    rows = [one for one in page.all("th") if one.get("scope") == "row"]
    assert 1000 <= len(rows) < 1010


def test_children_are_escaped_unless_they_are_markup():
    assert tag("p", "<b>", Html("<i>x</i>"), None, 3) == "<p>&lt;b&gt;<i>x</i>3</p>"
    assert tag("td", class_='"', aria_label=None) == '<td class="&quot;"></td>'
    assert tag("br") == "<br>"
    assert join("a", "&") == "a&amp;"
    assert breakable("a_<b>/c") == "a_<wbr>&lt;b&gt;/<wbr>c"
