"""Self-contained HTML pages: the shell with its styles, tables, pictures and charts.

`page` makes a document out of parts; every other function makes a part. Text that is passed in is escaped unless it
is `Html` already, so a class called `<script>` stays a word. Nothing is fetched and nothing runs.
"""

from patchseg.page.charts import line_chart
from patchseg.page.forecast import Mean, forecast_chart
from patchseg.page.matrix import matrix
from patchseg.page.reliability import reliability_chart
from patchseg.page.shell import Html, chip, element, escape, image, legend, page, score, scroll, table
from patchseg.page.strips import Strip, strips
from patchseg.page.viewer import View, viewer

__all__ = [
    "Html",
    "Mean",
    "Strip",
    "View",
    "chip",
    "element",
    "escape",
    "forecast_chart",
    "image",
    "legend",
    "line_chart",
    "matrix",
    "page",
    "reliability_chart",
    "score",
    "scroll",
    "strips",
    "table",
    "viewer",
]
