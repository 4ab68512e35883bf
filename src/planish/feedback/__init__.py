"""Comparisons by people and models: the page on which they are made, and the database that keeps them.

`planish annotate` reads answers (`reading.py`), keeps them as items of a study (`study.py`) in SQLite or PostgreSQL (`schema.py`,
`store.py`), gives each annotator one item after another (`assignment.py`) and shows it on a page (`server.py`). Every judgement
is on the disk before the next item is shown (`judgements.py`). `planish feedback export` writes them as rows for `planish reward`
and `planish dpo`. A model judges by the same tables:

>>> store = open_store("feedback.db")
>>> with store.writing() as session:
...     annotator = add_annotator(session, "qwen", kind="model")
...     add_judgement(session, annotator.id, item_id, StudyVerdict("ranked", (0, 1)), order=(1, 0), key="qwen 17 swapped")
"""
