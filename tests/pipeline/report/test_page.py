"""The HTML of a report loads nothing, escapes the user's text, and names what it leaves out."""

import re
from dataclasses import replace

import numpy as np
import pytest

from cpp_pipe.pipeline.report.markup import Html, breakable, join, tag
from cpp_pipe.pipeline.report.page import write_page
from cpp_pipe.pipeline.report.theme import LIGHT
from cpp_pipe.pipeline.view.captions import Caption
from cpp_pipe.pipeline.view.facts import SampleCounts

from .contents import ABSENCES, Page, make_contents, make_evaluation, make_space

EVIL = "<script>alert(1)</script>\"'&"


@pytest.fixture(scope="module")
def page() -> Page:
    """A report that lacks nothing."""
    return Page(write_page(make_contents()))


@pytest.fixture(scope="module")
def bare() -> Page:
    """A report of a run that holds only clusters."""
    contents = make_contents(curve=None, captions={}, evaluation=None, absences=ABSENCES)
    return Page(write_page(contents))


def test_no_address_leads_outside_the_report(page):
    names = {name for name, _ in page.elements}
    assert names.isdisjoint({"script", "link", "iframe", "object", "embed", "base", "a", "form"})
    for _, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href", "srcset", "action", "data"):
            assert attributes.get(name, "#").startswith(("#", "data:image/png;base64,"))
    text = write_page(make_contents())
    assert "://" not in text and "@import" not in text
    assert set(re.findall(r"url\((.)", text)) <= {"#"}


def test_the_policy_lets_a_browser_load_nothing(page):
    (policy,) = [meta for meta in page.all("meta") if "http-equiv" in meta]
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert policy["content"].startswith("default-src 'none'")


def test_the_same_contents_give_the_same_bytes():
    assert write_page(make_contents()) == write_page(make_contents())


def test_all_text_of_the_user_is_escaped():
    contents = make_contents(
        key=EVIL,
        captions={0: (Caption(EVIL, 0.5),)},
        evaluation=make_evaluation(6, 400, label=EVIL),
        model=EVIL,
        counts=SampleCounts(seen=403, embedded=400, skipped={EVIL: 3}, partial=()),
        versions=[replace(make_contents().versions[0], settings={"vocabulary": EVIL})],
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
    absences = {
        name: replace(absence, reason=EVIL, command=EVIL) for name, absence in ABSENCES.items()
    }
    contents = make_contents(curve=None, captions={}, evaluation=None, absences=absences)
    assert "<script" not in write_page(contents)


def test_every_figure_has_an_alternative_text_and_a_caption(page):
    drawn = [svg for svg in page.all("svg") if "viewbox" in svg]
    assert len(page.all("figure")) == len(drawn) == len(page.all("figcaption")) == 9
    for svg in drawn:
        assert svg["role"] == "img" and len(svg["aria-label"]) > 40
    assert len({svg["aria-label"] for svg in drawn}) >= 7


def test_every_id_is_unique_and_referenced():
    text = write_page(make_contents())
    ids = re.findall(r' id="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(|href=")#([^)"]+)', text)) == set(ids)


def test_tables_scroll_inside_themselves(page):
    scrolling = [div for div in page.all("div") if div.get("class") == "scroll"]
    assert len(page.all("table")) == len(scrolling) == 4
    for div in scrolling:
        assert div["tabindex"] == "0" and div["role"] == "region" and div["aria-label"]


def test_only_the_style_sheet_names_light_colours():
    style, rest = re.split("</style>", write_page(make_contents()), maxsplit=1)
    assert all(colour in style for colour in LIGHT.values())
    assert not [colour for colour in LIGHT.values() if colour in rest]


def test_the_style_sheet_has_rules_for_dark_narrow_and_paper():
    style = write_page(make_contents()).partition("</style>")[0]
    for rule in ("prefers-color-scheme: dark", "max-width: 32rem", "@media print"):
        assert rule in style


def test_the_header_counts_images_and_gives_the_date(page):
    assert "400 images in 6 clusters" in page.text
    assert "Of 403 images seen, 400 were embedded with ViT-B-32 (openai) and 3 skipped" in (
        page.text
    )
    assert "2026-11-25 03:04 UTC" in page.text
    assert "assignments 0123456789abcdef" in page.text
    assert "Seen 403 = embedded 400 + skipped 3 (no-image 3)" in page.text
    assert "features fedcba9876543210" in page.text


def test_missing_artifacts_are_shown_with_their_commands(bare):
    for text in (
        "No curve. Run cpp-pipe select-k.",
        "No captions. Run cpp-pipe caption.",
        "No labels. Run cpp-pipe report --labels F.",
    ):
        assert text in bare.text
    assert "captions, by share" not in bare.text and "largest class" not in bare.text


def test_scores_stand_beside_k_means_and_chance(page):
    for words in ("these clusters", "k-means on the embeddings", "chance, with the same sizes"):
        assert words in page.text
    assert "−0.000" not in page.text and "0.000" in page.text


def test_scores_name_mini_batches_where_k_means_is_fitted_by_them():
    contents = make_contents()
    assert contents.evaluation is not None
    evaluation = replace(contents.evaluation, kmeans_method="mini-batch k-means")
    text = Page(write_page(replace(contents, evaluation=evaluation))).text
    assert "mini-batch k-means on the embeddings" in text
    assert "mini-batch k-means 50.0%, chance 50.0%" in text


def test_the_table_shows_the_largest_cluster_first():
    cluster = np.array([0] * 100 + [1] * 300)
    contents = make_contents(2)
    tally = replace(contents.tally, sizes=np.bincount(cluster))
    text = Page(write_page(replace(contents, tally=tally))).text
    table = text[text.index("surest image") :]
    assert table.index("300") < table.index("100")


def test_the_size_of_the_sample_is_given():
    contents = make_contents()
    half = replace(contents.sample, overall=contents.sample.overall[::2])
    assert "all 400 images" in write_page(contents)
    page = write_page(replace(contents, sample=half))
    assert "a random sample of 200 of 400 images" in page


@pytest.mark.parametrize("k", [1, 2])
def test_a_report_of_few_clusters_shows_no_nan(k):
    text = write_page(make_contents(k))
    assert "nan" not in re.sub(r"base64,[^\"]*", "", text)


def test_a_report_of_a_hundred_clusters_is_below_three_megabytes():
    contents = make_contents(100, rows=4000)
    # Noise in many directions makes the largest heat map.
    noise = np.random.default_rng(0).normal(size=(4000, 512)).astype(np.float16)
    space = make_space(noise, contents.sample)
    text = write_page(replace(contents, raw=space, refined=space))
    assert len(text.encode()) < 3e6


def test_of_many_clusters_the_report_shows_the_largest_and_says_so():
    page = Page(write_page(make_contents(1001, rows=2002, captions={}, absences=ABSENCES)))
    assert "The 1,000 largest of 1,001 are shown" in page.text
    rows = [head for head in page.all("th") if head.get("scope") == "row"]
    assert 1000 <= len(rows) < 1010


def test_children_are_escaped_unless_they_are_markup():
    assert tag("p", "<b>", Html("<i>x</i>"), None, 3) == "<p>&lt;b&gt;<i>x</i>3</p>"
    assert tag("td", class_='"', aria_label=None) == '<td class="&quot;"></td>'
    assert tag("br") == "<br>"
    assert join("a", "&") == "a&amp;"
    assert breakable("a_<b>/c") == "a_<wbr>&lt;b&gt;/<wbr>c"
