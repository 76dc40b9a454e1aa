"""Self-contained HTML pages: the shell with its styles, tables, pictures and charts.

`page` makes a document out of parts; every other function makes a part. Text that is passed in is escaped unless it
is `Html` already, so a class called `<script>` stays a word. Nothing is fetched and nothing runs.
"""

from patchseg.page.charts import line_chart, matrix
from patchseg.page.reliability import reliability_chart
from patchseg.page.shell import Html, element, escape, image, page, score, scroll, table

__all__ = [
    "Html",
    "element",
    "escape",
    "image",
    "line_chart",
    "matrix",
    "page",
    "reliability_chart",
    "score",
    "scroll",
    "table",
]
