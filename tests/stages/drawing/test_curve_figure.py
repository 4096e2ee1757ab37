"""The curve of coding lengths: its words lie where no line crosses them."""

import matplotlib
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox

from cpp_pipe.stages.drawing.curve_figure import draw_curve
from cpp_pipe.stages.drawing.figure_style import STYLE
from cpp_pipe.stages.drawing.k_curve import KCurve

KS = [2, 3, 5, 8, 12, 17, 24, 34, 48, 55, 63, 72]
RISING = [0, 100, 900, 2000, 4000, 7000, 12_000, 18_000, 30_000, 36_000, 42_000, 50_000]
VALLEY = [abs(12 - k) * 100.0 for k in KS]


@pytest.mark.parametrize(
    ("nats", "chosen", "used"),
    [
        (RISING, 63, 60),
        (RISING, 72, 72),
        (RISING, 2, 2),
        (RISING[::-1], 5, 6),
        (RISING[::-1], 72, 70),
        (VALLEY, 12, 12),
        (VALLEY, 12, 13),
        (VALLEY, 12, 11),
    ],
)
def test_no_line_crosses_the_label_of_the_chosen_k(nats, chosen, used):
    absent = [None] * len(KS)
    curve = KCurve.of(
        {
            "k": KS,
            "coding_length_nats": nats,
            "low_nats": absent,
            "high_nats": absent,
            "votes": absent,
            "as_good": [False] * len(KS),
            "shortest": [value == min(nats) for value in nats],
            "chosen": [k == chosen for k in KS],
        }
    )
    with matplotlib.rc_context({**STYLE}):
        figure = draw_curve(curve, used)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        panel = figure.axes[0]
        (words,) = [text for text in panel.texts if text.get_text() == f"k = {chosen}"]
        box: Bbox = words.get_window_extent(canvas.get_renderer())
    for line in panel.get_lines():
        path = line.get_path().transformed(line.get_transform())
        if len(path) > 1:
            assert not path.intersects_bbox(box, filled=False), line
    assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1
