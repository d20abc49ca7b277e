"""The page of an explained picture: it says what was measured, escapes what comes from outside and loads nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec
import pytest

from moorelens.cli.image_explain import lines
from moorelens.cli.printing import plain
from moorelens.pipelines.images.explain import ImageResult
from moorelens.reports.image import Explanation, RandomMaps, decode_explanation, encode_image
from moorelens.reports.image_html import render_image
from moorelens.reports.image_index import render_index
from moorelens.reports.image_svg import curve_places, curves_svg
from moorelens.reports.image_words import Answer, answers, lede, map_caption
from tests.reports.conftest import HOSTILE
from tests.reports.image_samples import explanation, flat, layers, named, summary, thumbs, unexplainable


def by_key(found: Explanation) -> dict[str, Answer]:
    return {answer.key: answer for answer in answers(found)}


def page(found: Explanation) -> str:
    return render_image(found, layers()).decode()


def test_the_record_is_what_is_written() -> None:
    found = explanation()
    assert decode_explanation(encode_image(found)) == found
    assert encode_image(found) == encode_image(explanation())


def test_the_page_says_what_was_measured() -> None:
    text = page(explanation())
    for words in ("cat.png", "disc", "96.0\u202f%", "a gap of 0.910", "changes the answer to cross", "12.5\u202f%",
                  "1\u202f234 forwards and 800 backwards", "iGOS++", "the picture blurred"):  # fmt: skip
        assert words in text, words
    assert render_image(explanation(), layers()) == render_image(explanation(), layers())


def test_better_than_every_random_map_is_good_and_than_none_is_poor() -> None:
    found = by_key(explanation())
    assert (found["deletion"].level, found["insertion"].level, found["truth"].level) == ("good", "good", "good")
    swapped = explanation(deletion=explanation().insertion, insertion=explanation().deletion)
    worse = by_key(swapped)
    assert (worse["deletion"].level, worse["insertion"].level) == ("poor", "poor")


def test_what_cannot_be_explained_is_said_first_and_nothing_is_judged() -> None:
    found = unexplainable()
    assert "cannot be explained" in lede(found)
    assert "faintly" in map_caption(found)
    said = by_key(found)
    assert (said["gap"].level, said["deletion"].level, said["insertion"].level) == ("poor", "unknown", "unknown")
    assert 'class="heat doubtful"' in page(found)


def test_a_map_beside_the_cause_says_whose_fault_that_is() -> None:
    off = msgspec.structs.replace(explanation().truth, mass=0.02, hit=False)
    assert "it is the model that looks elsewhere" in by_key(explanation(truth=off))["truth"].text
    doubtful = explanation(truth=off, insertion=explanation().deletion)
    assert "do not settle" in by_key(doubtful)["truth"].text


def test_a_picture_that_speaks_against_the_class_is_told_from_one_that_says_nothing() -> None:
    against = explanation(f_x=0.01, f_b=0.4, gap=-0.39, explainable=False)
    assert "makes it likelier" in lede(against)
    assert "speaks against" in by_key(against)["gap"].text
    assert "hardly changes" in lede(unexplainable())
    assert "read it as noise" in by_key(unexplainable())["gap"].text


def test_a_flat_map_is_said() -> None:
    assert "no pixel that matters more" in lede(flat())
    assert "flat" in by_key(flat())
    assert "nothing is drawn" in map_caption(flat())


def test_a_class_that_was_asked_for_is_told_from_the_predicted_one() -> None:
    other = explanation().top[1]
    found = explanation(target=other, asked=True, flip_area=None, flips_to=None)
    assert "Explained is cross (4.0\u202f%), which was asked for" in lede(found)
    assert "answer stays the same" not in by_key(found)["deletion"].text


def test_an_incomplete_integral_is_said() -> None:
    off = explanation(method="ig", diagnostics={"completeness": 0.05, "incomplete": True})
    assert by_key(off)["complete"].level == "mixed"
    assert "--path-steps" in by_key(off)["complete"].text
    fine = explanation(method="ig", diagnostics={"completeness": 0.0001, "incomplete": False})
    assert by_key(fine)["complete"].level == "good"


def rare(**changes: object) -> Explanation:
    """A class that the model rules out, while parts of the picture on the baseline are given it."""
    target = msgspec.structs.replace(explanation().top[1], probability=0.0009)
    scores = {"f_x": 0.0009, "f_b": 0.0003, "gap": 0.0006}
    return explanation(target=target, asked=True, flip_area=None, flips_to=None, **{**scores, **changes})


def test_a_class_that_the_model_does_not_see_is_judged_well_in_nothing() -> None:
    low = RandomMaps(**{**msgspec.structs.asdict(explanation().random), "insertion": (0.0003, 0.0004)})
    small = msgspec.structs.replace(explanation().insertion, auc=0.0008)
    found = by_key(rare(insertion=small, random=low))
    assert found["gap"].word == "this class is at 0.09\u202f%"
    assert "this class is at 0.09" in found["insertion"].word
    assert {answer.level for answer in found.values()} <= {"mixed", "poor"}


def test_parts_that_score_far_above_the_whole_are_an_artefact() -> None:
    found = by_key(rare(insertion=msgspec.structs.replace(explanation().insertion, auc=0.333)))
    assert {answer.level for answer in found.values()} <= {"mixed", "poor"}
    for key in ("deletion", "insertion"):
        assert "an artefact of the baseline" in found[key].word
        assert "score far above the whole picture (370 times on average)" in found[key].text


def test_an_area_that_nothing_scales_is_left_out_with_a_word() -> None:
    nothing = msgspec.structs.replace(explanation().insertion, auc_norm=None)
    assert "left out, as the gap is too small" in page(explanation(insertion=nothing))
    assert "left out" not in page(explanation())


def test_a_flat_map_of_nothing_is_no_fault_of_the_model() -> None:
    nothing = by_key(msgspec.structs.replace(flat(), gap=0.0, f_b=0.96, explainable=False))["flat"].text
    assert "nothing to explain" in nothing and "gradient" not in nothing
    assert "gradient of the score is 0" in by_key(flat())["flat"].text


def test_the_normaliser_is_shown_exactly() -> None:
    found = explanation(model=msgspec.structs.replace(explanation().model, mean=(0.485, 0.456, 0.406)))
    assert "0.485, 0.456, 0.406 and 0.25" in page(found)


@pytest.mark.parametrize(("f_x", "f_b"), [(0.002, 0.001), (1.0, 0.999), (0.5, 0.49), (0.5, 0.52), (0.96, 0.05), (0, 0)])
def test_the_names_of_two_close_levels_stand_apart(f_x: float, f_b: float) -> None:
    root = ET.fromstring(curves_svg(explanation(f_x=f_x, f_b=f_b), paper=False))
    places = [float(one.get("y", "")) for one in root if one.text in ("whole picture", "all hidden")]
    assert abs(places[0] - places[1]) >= 12
    assert all(20 < place < 244 for place in places)


@pytest.mark.parametrize("text", HOSTILE)
def test_names_from_outside_stay_text(text: str) -> None:
    for document in (page(named(text)), render_index(summary(text), thumbs()).decode(), curves_svg(named(text))):
        assert "<script>alert" not in document
        assert "<img src=x" not in document
        assert "49" not in re.findall(r"{{ 7 \* 7 }}|>49<", document)
    script = re.search(r'<script type="application/json" id="image-data">(.*?)</script>', page(named(text)), re.DOTALL)
    assert script is not None
    json.loads(script[1])


def test_the_policy_admits_this_pages_style_and_script_and_nothing_else() -> None:
    for document in (page(explanation()), render_index(summary(), thumbs()).decode()):
        policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', document)
        assert policy is not None
        said = policy[1].replace("&#39;", "'")
        assert said.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
        admitted = set(re.findall(r"'sha256-([^']+)'", said))
        bodies = re.findall(r"<style>(.*?)</style>|<script>(.*?)</script>", document, re.DOTALL)
        found = {
            base64.b64encode(hashlib.sha256((style or script).encode()).digest()).decode() for style, script in bodies
        }
        assert admitted == found
        assert not re.findall(r'(?:src|href)="(?!data:|#|one/|two/|\.\./)', document)
        assert not re.findall(r'\sstyle="|\son\w+="', document)


def test_the_plot_is_well_formed_and_its_cursor_stands_on_the_steps() -> None:
    found = explanation()
    for paper in (True, False):
        root = ET.fromstring(curves_svg(found, paper=paper))
        lines = [element for element in root if element.tag.endswith("polyline")]
        assert len(lines) == 4
        places = [float(point.split(",")[0]) for point in lines[-1].get("points", "").split()]
        assert places == pytest.approx(curve_places(found.deletion.area), abs=0.06)
        width, height = (float(root.get(name, "")) for name in ("width", "height"))
        for line in lines:
            for point in line.get("points", "").split():
                x, y = map(float, point.split(","))
                assert 0 <= x <= width and 0 <= y <= height


@pytest.mark.parametrize("score", ["logit", "logprob", "margin"])
def test_scores_of_any_range_fit_the_plot(score: str) -> None:
    high = explanation().deletion
    shifted = type(high)(area=high.area, score=tuple(-40 * one for one in high.score), auc=-3.0, auc_norm=None)
    found = explanation(score=score, deletion=shifted, f_x=-38.4, f_b=-2.0)
    ET.fromstring(curves_svg(found))
    assert page(found)


def test_the_index_leads_to_each_page_and_says_what_was_left_out() -> None:
    document = render_index(summary(), thumbs()).decode()
    assert 'href="one/report.html"' in document and 'href="two/report.html"' in document
    assert "cannot be explained" in document and "is no picture" in document
    assert "60.0\u202f%" in document


def test_the_columns_of_a_table_keep_their_decimals_and_width() -> None:
    rows = summary().rows
    tiny = msgspec.structs.replace(rows[1], probability=0.9997, gap=-3.52e-4, deletion=-1234.5, insertion=-2e-5)
    result = ImageResult(
        folder=Path("run"), explanation=None, summary=msgspec.structs.replace(summary(), rows=(rows[0], tiny))
    )
    table = [plain(line) for line in lines(result)[2:5]]
    assert len({line.find("  cannot") if "cannot" in line else len(line) for line in table}) == 1
    assert table[1].split()[-4:] == ["90.0", "%", "0.800", "0.100", "0.800"][-4:]
    assert table[2].split("  cannot")[0].endswith(" 0.000 -1 234.500      0.000")
    assert ">99.9 %" in table[2] and "e-" not in table[2]
    index = render_index(msgspec.structs.replace(summary(), rows=(rows[0], tiny)), thumbs()).decode()
    assert "e\u221204" not in index and "scroll it sideways" in index
